"""What a document is: the walk through it, off the event loop where that takes long."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ._dicom import Bounds, Facts, examine
from ._options import MIB
from ._threads import in_thread

if TYPE_CHECKING:
    from ._exchange import Document
    from ._instance import Content
    from ._options import Limits

# An image of this size takes no longer than a smaller one to walk through, but a deflated one may take 10 ms.
_IN_THREAD: Final = 2 * MIB


def bounds_of(limits: Limits) -> Bounds:
    return Bounds(
        max_dicom_depth=limits.max_dicom_depth,
        max_dicom_inflation=limits.max_dicom_inflation,
        max_part=limits.max_part,
    )


async def examined(document: Document, bounds: Bounds) -> Facts:
    """What the walk through *document* finds, off the event loop where it may have to read or inflate for long."""
    content = document.content
    if document.flaw is not None:
        return Facts(flaw=document.flaw)
    if content.size_bytes < _IN_THREAD:
        return _walked(content, bounds)
    return await in_thread(partial(_walked, content, bounds))


def _walked(content: Content, bounds: Bounds) -> Facts:
    with content.view() as view:
        return examine(view, bounds)
