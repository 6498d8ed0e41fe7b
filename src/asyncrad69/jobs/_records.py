"""A job as the records of a download: what comes is entered in it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrad69._journal import Workplace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from asyncrad69._journal import Entry

    from ._store import Store


class JobRecords(Workplace):
    """
    In place of a journal, which would be read as a whole each time.

    Only what is pending is asked of it, and so it never knows of a file: one that is there is looked at. A kill
    between a file and its entry leaves such a file.

    Args:
        store: The job.
        root: The folder that instances are written below.
    """

    def __init__(self, store: Store, root: Path) -> None:
        super().__init__(root)
        self._store = store
        self._root = store.enter_root(str(root.absolute()))

    def maybe_entry(self, path: str) -> None:
        """Nothing."""

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Enter files in the job."""
        self._store.enter_files(self._root, entries)
        if sync:
            self._store.sync()

    def finish(self) -> None:
        """The job is its own manifest."""
