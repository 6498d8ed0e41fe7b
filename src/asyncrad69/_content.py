"""The bytes of one instance on their way in: held in memory up to a budget, or spooled to a file."""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING

from anyio import Event

from ._errors import storage_errors
from ._limits import MIB
from ._threads import in_thread
from ._walk import ForgetfulView

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ._instance import Content

# From here on the pieces of a part go into one growing buffer: a list and a join hold it twice.
_LARGE = 64 * MIB
# So much of a file that is looked at may be in memory. The system maps 64 KiB for each byte that is touched.
_MAPPED = 4 * MIB
_LET_GO: int | None = getattr(mmap, "MADV_DONTNEED", None)  # Windows has none
_TEMPORARY = "a temporary file"
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would change line ends


class MemoryContent:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size_bytes = len(data)

    @contextmanager
    def view(self) -> Iterator[bytes]:
        """All of it, to be looked at."""
        yield self.data

    def chunks(self, size_bytes: int) -> Iterator[memoryview]:
        """Its bytes in order, in pieces of *size_bytes* and a shorter last one."""
        whole = memoryview(self.data)
        for start in range(0, self.size_bytes, size_bytes):
            yield whole[start : start + size_bytes]

    def close(self) -> None:
        """Drop them. Whoever was cancelled with this in its hands may be kept alive by its own traceback."""
        self.data = b""


class FileContent:
    """
    Bytes in a temporary file, which is gone when this object is.

    Attributes:
        name: The file's path, in a folder that was chosen. In the system's, it has none once it is open.
    """

    def __init__(self, spool: Spool) -> None:
        self.size_bytes = 0
        with storage_errors(_TEMPORARY):
            self._descriptor, self.name = _new_file(spool.folder)
        self._position = Lock()
        self._dispose = weakref.finalize(self, _dispose, os.getpid(), self.name, self._descriptor)

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append *pieces*. Blocks."""
        with storage_errors(_TEMPORARY):
            for piece in pieces:
                _write_all(self._descriptor, piece)
                self.size_bytes += len(piece)

    @property
    def data(self) -> bytes:
        """All of it, read anew each time. Blocks."""
        return b"".join(self.chunks(8 * MIB))

    @contextmanager
    def view(self) -> Iterator[bytes | mmap.mmap]:
        """All of it, to be looked at; see `mapped`."""
        with storage_errors(_TEMPORARY), mapped(self._descriptor, self.size_bytes) as view:
            yield view

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Its bytes in order, in pieces of *size_bytes* and a shorter last one. Blocks."""
        for start in range(0, self.size_bytes, size_bytes):
            yield self._read(size_bytes, start)

    def _read(self, size_bytes: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size_bytes, start)
        # Windows: there is one position, for all who read.
        with self._position:
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, size_bytes)

    def seal(self) -> None:
        """Nothing more is written or read: only the name is left. Windows renames no file that is open."""
        if self._dispose.detach():
            self._dispose = weakref.finalize(self, _dispose, os.getpid(), self.name)
            os.close(self._descriptor)

    def close(self) -> None:
        """Give the file up. Does nothing the second time."""
        self._dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """
    When and where instances go to a file while they come.

    Attributes:
        threshold: More than this of one instance is not held in memory, in bytes.
        folder: Where the files are; ``None`` for the system's folder for temporary files.
    """

    threshold: int
    folder: Path | None = None


class Assembly:
    """
    The pieces of one part on their way to one content.

    Args:
        budget: What it may hold in memory, together with others.
        spool: Where the rest goes; ``None`` holds everything.
    """

    def __init__(self, budget: MemoryBudget, spool: Spool | None) -> None:
        self._budget = budget
        self._share = Share(budget)
        self._spool = spool
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._large: BytesIO | None = None
        self._file: FileContent | None = None

    async def add(self, piece: bytes | memoryview) -> None:
        """Append *piece*, as soon as there is room for it."""
        await self._share.grow(len(piece))
        self._held += len(piece)
        if self._large is not None:
            self._large.write(piece)
            return
        self._pieces.append(piece)
        if self._spool is not None:
            if self._held > self._spool.threshold:
                await self._spill(self._spool)
        elif self._held > _LARGE:
            self._large = BytesIO()
            self._large.writelines(self._pieces)
            self._pieces = []

    async def take(self) -> tuple[Content, Share]:
        """The content, and what it holds of the budget, for the taker to give back; the next piece begins another."""
        if self._file is not None and self._spool is not None:
            await self._spill(self._spool)
            file, self._file = self._file, None
            return file, Share(self._budget)
        data = self._large.getvalue() if self._large is not None else b"".join(self._pieces)
        self._pieces, self._held, self._large = [], 0, None
        share, self._share = self._share, Share(self._budget)
        return MemoryContent(data), share

    def close(self) -> None:
        """Drop what has not been taken."""
        self._share.shrink()
        self._pieces, self._large = [], None
        if self._file is not None:
            self._file.close()

    async def _spill(self, spool: Spool) -> None:
        """Move what is held to the file."""
        self._file = await in_thread(partial(_written, self._file, spool, self._pieces))
        self._pieces, self._held = [], 0
        self._share.shrink()


def _written(file: FileContent | None, spool: Spool, pieces: list[bytes | memoryview]) -> FileContent:
    file = FileContent(spool) if file is None else file
    file.write(pieces)
    return file


class MemoryBudget:
    """
    What the instances in flight may hold together, in bytes. One may always go beyond: it would never come else.

    Args:
        size_bytes: The budget; ``None`` for no end.
    """

    def __init__(self, size_bytes: int | None) -> None:
        self._size = size_bytes
        self._held = 0
        self._beyond: Share | None = None
        self._waiting: set[Event] = set()

    def admits(self, share: Share, size: int) -> bool:
        """Enter *size* bytes for *share*, if there is room or it is the one that may go beyond."""
        if self._size is not None and self._held + size > self._size:
            if self._beyond not in {None, share}:
                return False
            self._beyond = share
        self._held += size
        return True

    async def changed(self) -> None:
        """Wait until something was given back."""
        event = Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)

    def give_back(self, share: Share, size: int) -> None:
        """Take *size* bytes of *share* off; it is not the one that goes beyond any more."""
        self._held -= size
        if self._beyond is share:
            self._beyond = None
        for event in self._waiting:
            event.set()


class Share:
    """What one content holds of the budget, from its first piece until somebody gives it back."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    async def grow(self, size: int) -> None:
        """Take *size* bytes; wait until there is room."""
        while not self._budget.admits(self, size):
            await self._budget.changed()
        self._size += size

    def complete(self) -> None:
        """
        It will not grow for now, so another may go beyond.

        A caller who asks for an instance while another waits to be taken from its loop would wait for ever else.
        """
        self._budget.give_back(self, 0)

    def shrink(self) -> None:
        """Give everything back."""
        size, self._size = self._size, 0
        self._budget.give_back(self, size)


@contextmanager
def mapped(descriptor: int, size_bytes: int) -> Iterator[bytes | mmap.mmap]:
    """A file to be looked at: only the pages that are touched are read, and those that the walk has passed let go."""
    if size_bytes:
        with _FileView(descriptor, size_bytes, access=mmap.ACCESS_READ) as view:
            yield view
    else:  # which cannot be mapped
        yield b""


class _FileView(ForgetfulView):
    """Lets pages go every few MiB."""

    _let_go = 0  # all before this

    def passed(self, position: int) -> None:
        """The pages before *position* will not be looked at again; if they are, they are read anew."""
        if _LET_GO is not None and position - self._let_go >= _MAPPED:
            end = position - position % mmap.PAGESIZE
            with suppress(OSError):  # pages that the process has locked in memory stay there
                self.madvise(_LET_GO, self._let_go, end - self._let_go)
            self._let_go = end


def _new_file(folder: Path | None) -> tuple[int, str]:
    """A descriptor and a path."""
    if folder is not None:
        path = f"{folder}{os.sep}{secrets.token_hex(8)}.part"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o640), path
    descriptor, name = tempfile.mkstemp(suffix=".part")
    # A process that is killed then leaves nothing behind. Windows refuses: there it goes at the end.
    with suppress(OSError):
        os.unlink(name)  # noqa: PTH108 - mkstemp's own word for it
    return descriptor, name


def _write_all(descriptor: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _dispose(process: int, name: str, *descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    if os.getpid() == process:  # after a fork the name is the parent's
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as above
