"""A download: what is there already, and how an instance that comes becomes a file. All of it blocks."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from functools import partial
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from ._content import FileContent, Spool, mapped
from ._errors import ExistingFileError, StorageError, storage_errors, without_frames
from ._files import PathTemplate, make_folder, publish
from ._journal import Entry, Journal, Records
from ._limits import MIB
from ._options import one_of
from ._walk import Facts, examine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ._instance import Instance
    from ._references import InstanceReference

#: What to do about files that are there.
Existing: TypeAlias = Literal["skip", "verify", "overwrite", "error"]
#: When files are brought from the operating system's memory to the disk.
Durability: TypeAlias = Literal["none", "batch", "each"]

#: More than this of one instance is not held in memory.
SPOOL_BYTES: Final = 4 * MIB
# Files that are synced together, under "batch".
_BATCH: Final = 64
_HASHED_AT_ONCE: Final = MIB


class Download:
    """
    The files of one download.

    Args:
        target: See `PathTemplate`.
        existing: What to do about files that are there.
        durability: When they are synced.
        records: Made for the folder, it knows what is there, and is told what comes.

    Attributes:
        root: The folder that everything is written below.
        spool: Where instances go while they come: to the folder of the target, so that a link gives them their name.

    Raises:
        ValueError: An argument that makes no sense.
        StorageError: The folder cannot be written.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        existing: Existing,
        durability: Durability,
        records: Callable[[Path], Records] = Journal,
    ) -> None:
        self._template = PathTemplate(target)
        self._existing = one_of("existing", existing, get_args(Existing))
        self._durability = one_of("durability", durability, get_args(Durability))
        self._lock = Lock()
        self._idle = Condition(self._lock)
        self._at_work = 0  # threads that are storing
        self._ended = False
        self._folders: set[Path] = set()  # those of this download, which need not be looked at for each file
        self._unsynced: list[tuple[Path, Entry]] = []
        self._owing = False  # the last attempt to enter them failed
        self._sync_error: OSError | None = None
        self.root: Path = self._template.root
        with storage_errors(self.root):
            self._records = records(self.root)
        self.spool: Spool = Spool(threshold=SPOOL_BYTES, folder=self._records.folder)

    def flush(self) -> None:
        """Sync what has to be, and enter it."""
        with self._lock, storage_errors(self._records.folder.name):
            self._flush()

    def close(self) -> None:
        """Sync what has to be, and write the manifest. What other threads are storing is given up first."""
        with self._idle:
            self._ended = True
            self._idle.wait_for(lambda: not self._at_work)
        try:
            self.flush()
            with storage_errors(self._records.folder.name):
                self._records.finish()
        finally:
            self._records.close()

    # --- what is there

    def there(self, references: Iterable[InstanceReference]) -> Iterator[tuple[InstanceReference, Path, int]]:
        """
        Those of *references* that need not be asked for: reference, file, size in bytes.

        Raises:
            ExistingFileError: Files are there, and ``existing="error"``.
        """
        with self._working():
            for reference in references:
                self._check()
                path = self._template.path(reference)
                with storage_errors(path.name, done="read"):
                    if path.exists() and self._counts(reference, path):
                        yield reference, path, path.stat().st_size

    def _counts(self, reference: InstanceReference, path: Path) -> bool:
        """Whether a file is the instance it has the name of, as far as *existing* wants that known."""
        if self._existing == "error":
            raise ExistingFileError(f"{path.name} is there already")
        entry = self._records.maybe_entry(self._relative(path))
        if self._existing == "overwrite" or path.is_symlink():
            return False
        if entry is None:
            return self._existing == "skip" and self._is_instance(reference, path)
        if self._existing == "skip":
            return entry.size_bytes == path.stat().st_size
        return entry.sha256 == self._sha256_of_file(path)

    def _is_instance(self, reference: InstanceReference, path: Path) -> bool:
        facts = _facts(path)
        if facts.flaw is not None or facts.sop_instance_uid != reference.sop_instance_uid:
            return False
        entry = self._entry(reference, path, path.stat().st_size, self._sha256_of_file(path))
        self._records.append([entry], sync=False)
        return True

    # --- what comes

    def store(self, instances: Sequence[Instance]) -> list[Path | StorageError]:
        """
        Write *instances* to their files, and enter them.

        Returns:
            The file of each, or why there is none: `ExistingFileError` if a file with other content has the name. The
            list ends with the first other error; what follows is not tried.

        Raises:
            StorageError: Those that were written before could not be entered; or the download is closed.
        """
        with self._working():
            self._settle()
            outcomes: list[Path | StorageError] = []
            for instance in instances:
                try:
                    outcomes.append(self._store(instance))
                except StorageError as exc:
                    outcomes.append(without_frames(exc))
                    if exc.fatal:
                        break
            self._enter_when_due()
            return outcomes

    @contextmanager
    def _working(self) -> Iterator[None]:
        """A caller that leaves waits some seconds for its threads: `close` may come before they are done."""
        with self._lock:
            self._check()
            self._at_work += 1
        try:
            yield
        finally:
            with self._idle:
                self._at_work -= 1
                self._idle.notify_all()

    def _check(self) -> None:
        if self._ended:
            raise StorageError("the download was ended")

    def _store(self, instance: Instance) -> Path:
        path = self._template.path(instance.reference)
        with storage_errors(path.name):
            self._make_folder(path.parent)
            with self._file(instance) as content:
                digest = self._sha256(instance.chunks(_HASHED_AT_ONCE))
                content.seal()
                publish(content.name, path, overwrite=self._existing == "overwrite")
            entry = self._entry(instance.reference, path, instance.size_bytes, digest)
        with self._lock:
            self._unsynced.append((path, entry))
        return path

    def _sha256_of_file(self, path: Path) -> str:
        with path.open("rb") as file:
            return self._sha256(iter(partial(file.read, _HASHED_AT_ONCE), b""))

    def _sha256(self, chunks: Iterable[bytes | memoryview]) -> str:
        digest = hashlib.sha256()
        for chunk in chunks:
            self._check()  # a large one takes many seconds
            digest.update(chunk)
        return digest.hexdigest()

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            make_folder(folder, self._template.root)
            self._folders.add(folder)

    @contextmanager
    def _file(self, instance: Instance) -> Iterator[FileContent]:
        """The instance in a temporary file."""
        if isinstance(instance.content, FileContent):
            content, rest = instance.content, []
        else:
            content, rest = FileContent(self.spool), [instance.data]
        try:
            content.write(rest)
            yield content
        finally:
            content.close()

    def _settle(self) -> None:
        """Enter what could not be entered when it was written."""
        with self._lock, storage_errors(self._records.folder.name):
            if self._owing:
                self._flush()

    def _enter_when_due(self) -> None:
        with self._lock, storage_errors(self._records.folder.name):
            if self._durability == "none":
                # The files have their names, and count. That the journal cannot be written is the next ones' error,
                # or that of `close`.
                with suppress(OSError, StorageError):
                    self._flush()
            elif self._durability == "each" or len(self._unsynced) >= _BATCH:
                self._flush()

    def _flush(self) -> None:
        """Enter in the journal what is written; before that, bring it to the disk if asked to."""
        written, self._owing = self._unsynced, True
        sync = self._durability != "none"
        if sync:
            self._sync_all([path for path, _ in written])
        if written:
            self._records.append((entry for _, entry in written), sync=sync)
        self._unsynced, self._owing = [], False

    def _sync_all(self, paths: Sequence[Path]) -> None:
        # An error of writing back is told once: the second fsync of the same file would succeed, and prove nothing.
        if self._sync_error is not None:
            raise self._sync_error
        try:
            for path in paths:
                _sync(path)
            # Then their names. Windows has no such call.
            for folder in {path.parent for path in paths if os.name == "posix"}:
                _sync(folder)
        except OSError as exc:
            self._sync_error = without_frames(exc)
            raise

    def _entry(self, reference: InstanceReference, path: Path, size_bytes: int, sha256: str) -> Entry:
        return Entry(
            sop_instance_uid=reference.sop_instance_uid,
            path=self._relative(path),
            size_bytes=size_bytes,
            sha256=sha256,
        )

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._template.root).as_posix()


def _facts(path: Path) -> Facts:
    with path.open("rb") as file, mapped(file.fileno(), path.stat().st_size) as view:
        return examine(view)


def _sync(path: Path) -> None:
    # Windows syncs only what it was asked to write; elsewhere that cannot be asked for a folder.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
