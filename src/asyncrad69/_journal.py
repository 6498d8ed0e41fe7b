"""The journal of a folder: what was written to it, one line each, and the manifest made of it."""

from __future__ import annotations

import csv
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there a file that is open cannot be removed, which is what the lock is for
    fcntl = None  # type: ignore[assignment]

#: What belongs to the downloads into a folder is in this one, inside it.
FOLDER = ".asyncrad69"
_JOURNAL = "journal.jsonl"
_MANIFEST = "manifest.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    An instance in a file.

    Attributes:
        sop_instance_uid: Which one.
        path: The file, relative to the folder of the journal, with ``/``.
        size_bytes: Its size.
        sha256: Of its bytes, in hexadecimal.
    """

    sop_instance_uid: str
    path: str
    size_bytes: int
    sha256: str

    def line(self) -> bytes:
        """The entry as a line of the journal."""
        values = {
            "sop_instance_uid": self.sop_instance_uid,
            "path": self.path,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
        }
        return json.dumps(values).encode() + b"\n"


class Records(Protocol):
    """What is known of the files below a folder: its journal, or a job."""

    @property
    def folder(self) -> Path:
        """Where unfinished files belong."""

    def maybe_entry(self, path: str) -> Entry | None:
        """What was written to *path*, relative to the folder that instances are written below."""

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Add *entries*; with *sync* return when they are on the disk."""

    def finish(self) -> None:
        """No more will be written."""

    def close(self) -> None:
        """Give it up."""


class Workplace:
    """
    The folder for what is unfinished, beside the instances.

    Opening it removes what killed processes left there, unless another one is at work in the same folder.

    Args:
        root: The folder that instances are written below. It is made, where it is missing.

    Attributes:
        folder: Where unfinished files belong.

    Raises:
        OSError: It cannot be made or read.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lines: IO[bytes] = (self.folder / _JOURNAL).open("ab+", buffering=0)
        try:
            self._sweep()
        except BaseException:
            self._lines.close()
            raise

    def close(self) -> None:
        """Let others sweep."""
        self._lines.close()

    def _sweep(self) -> None:
        if fcntl is None:
            self._remove_unfinished()
            return
        # Not to be had: somebody else is at work here, or the file system has no locks.
        with suppress(OSError):
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remove_unfinished()
        with suppress(OSError):
            fcntl.flock(self._lines, fcntl.LOCK_SH)

    def _remove_unfinished(self) -> None:
        for unfinished in self.folder.glob("*.part"):
            with suppress(OSError):
                unfinished.unlink()


class Journal(Workplace):
    """
    What was written below *root*. Append-only: a process that dies while it writes spoils its last line at most.

    Args:
        root: As for `Workplace`.

    Attributes:
        entries: By path.

    Raises:
        OSError: It cannot be made or read.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._torn = False
        try:
            self.entries = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def maybe_entry(self, path: str) -> Entry | None:
        """What was written to *path*."""
        return self.entries.get(path)

    def finish(self) -> None:
        """Write the manifest."""
        self.write_manifest()

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        """Add *entries*; with *sync* return when they are on the disk."""
        new = list(entries)
        # One write: another process that appends to the same file does not get in between. On a disk that gets full it
        # may be short; the next attempt says why, and ends the line that it tore.
        lines = memoryview((b"\n" if self._torn else b"") + b"".join(each.line() for each in new))
        self._torn = True
        while lines:
            lines = lines[self._lines.write(lines) :]
        self._torn = False
        self.entries.update((each.path, each) for each in new)
        if sync:
            os.fsync(self._lines.fileno())

    def write_manifest(self) -> None:
        """Replace the manifest: a CSV of all entries, by path."""
        temporary = self.folder / f"{secrets.token_hex(8)}.part"
        with temporary.open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("SOPInstanceUID", "Path", "SizeBytes", "SHA256"))
            for path, entry in sorted(self._read().items()):
                writer.writerow((entry.sop_instance_uid, path, entry.size_bytes, entry.sha256))
        temporary.replace(self.folder / _MANIFEST)

    def _read(self) -> dict[str, Entry]:
        self._lines.seek(0)
        text = self._lines.read()
        if text and not text.endswith(b"\n"):
            self._lines.write(b"\n")  # what is appended now must not become part of a torn line
        entries = {}
        for line in text.splitlines():
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError):  # torn: its process was killed
                continue
            entries[entry.path] = entry
        return entries
