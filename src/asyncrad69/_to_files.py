"""A retrieve whose instances go to files: what is there already is not asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio import CancelScope

from ._retrieval import AsyncRetrieval
from ._threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._download import Download
    from ._errors import StorageError
    from ._instance import Instance
    from ._options import Options
    from ._references import InstanceReference
    from ._running import Admit
    from ._services import Services


async def retrieval_to(
    services: Services,
    files: Download,
    wanted: tuple[InstanceReference, ...],
    options: Options,
    *,
    admit: Admit | None = None,
) -> AsyncRetrieval:
    """
    A retrieve of what *files* do not have yet, which writes it there.

    Raises:
        StorageError: A file cannot be read, or is there and must not be.
    """

    async def store(instances: Sequence[Instance]) -> Sequence[Path | StorageError]:
        return await in_thread(partial(files.store, instances))

    # Reading what is there may take long; closed, *files* end it.
    present = await in_thread(lambda: list(files.there(wanted)), abandon_on_cancel=True)
    return AsyncRetrieval(services, wanted, options, spool=files.spool, store=store, admit=admit, present=present)


async def close(files: Download) -> None:
    """Close *files*, also where the task is being cancelled."""
    with CancelScope(shield=True):
        await in_thread(files.close)
