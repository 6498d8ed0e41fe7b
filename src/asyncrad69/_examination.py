"""What a document is: the walk through it, off the event loop where that takes long."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ._limits import MIB
from ._threads import in_thread
from ._walk import Facts, examine

if TYPE_CHECKING:
    from ._exchange import Document
    from ._instance import Content
    from ._likeness import Likeness
    from ._limits import Limits

# An image of this size takes no longer than a smaller one to walk through, but a deflated one may take 10 ms.
_IN_THREAD: Final = 2 * MIB


async def examined(document: Document, limits: Limits, likeness: Likeness) -> Facts:
    """What the walk through *document* finds, off the event loop where it may have to read or inflate for long."""
    content = document.content
    if document.flaw is not None:
        return Facts(flaw=document.flaw)
    if content.size_bytes < _IN_THREAD:
        return _walked(content, limits, likeness)
    return await in_thread(partial(_walked, content, limits, likeness))


def _walked(content: Content, limits: Limits, likeness: Likeness) -> Facts:
    with content.view() as view:
        return examine(view, limits, likeness)
