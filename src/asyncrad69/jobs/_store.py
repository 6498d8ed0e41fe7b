"""
The file of a job: SQLite in WAL mode, so that what was committed survives a kill, and a status can be read meanwhile.

A job may have millions of instances: nothing here reads all of them at once. Everything blocks.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from asyncrad69._errors import STORAGE_HINT, StorageError, unwritable
from asyncrad69._files import publish
from asyncrad69._references import InstanceReference
from asyncrad69._version import __version__

from ._schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, SERIES_KEY
from ._words import STATES, JobError, JobRow, JobState, JobStatus, Rejected, study_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncrad69._journal import Entry

    from ._words import Shard

#: A place in a job's order: a series and an instance of it.
Position: TypeAlias = tuple[int, int]
START: Final[Position] = (0, 0)

#: A reference in a plan: added; there already; or there with another study or series.
Planned: TypeAlias = Literal["new", "known", "contradicting"]

# How long to wait while another process writes to the same job.
_BUSY_S: Final = 60.0

_FORGET: Final = "state = 'pending', root = NULL, path = NULL, size_bytes = 0, sha256 = '', time = NULL"


class Store:
    """
    A job's file, open. Its methods may be called from any thread.

    Args:
        path: A file made by `Store.create`.

    Raises:
        JobError: It is not there, not a job, or made by a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        if not path.is_file():
            raise JobError(f"there is no job {path.name}", hint="Make one: rad69 plan TABLE -o job.db")
        with _translated(self.path):
            self._connection = _connect(_database(path))
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Self]:
        """
        A new store to be filled; the file has its name when the block is left well, and is gone otherwise.

        Raises:
            JobError: There is a file of that name.
            StorageError: It cannot be written.
        """
        if path.exists():
            raise JobError(f"{path.name} is there already", hint="Choose another name, or move it away.")
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            with _translated(path), closing(_connect(str(temporary.absolute()))) as connection:
                _make(connection)
            with cls(temporary) as store:
                yield store
            with _translated(path):
                publish(str(temporary), path, overwrite=False)
        finally:
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):  # a read-only file system refuses even this; the first error says so
                    temporary.with_name(temporary.name + suffix).unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file up. Does nothing the second time."""
        with _translated(self.path), self._lock:
            self._connection.close()

    # --- planning

    def add(self, references: Iterable[InstanceReference]) -> list[Planned]:
        """Plan *references*, in one transaction; what came of each, in their order."""
        with self._transaction() as connection:
            return [_plan(connection, reference) for reference in references]

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Keep what could not be planned."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO rejected (file, line, reason) VALUES (?, ?, ?)",
                ((each.file, each.line, each.reason) for each in rejected),
            )

    # --- running

    def next_pending(
        self, after: Position, limit: int, shard: Shard | None = None
    ) -> tuple[list[InstanceReference], Position]:
        """
        At most *limit* pending instances, series by series, and the position of the last.

        Args:
            after: `START`, or the position that the last call returned.
            limit: How many.
            shard: Only of this one.
        """
        where, values = _of(shard)
        found = self._read(
            f"SELECT {_REFERENCE}, series.id, instance.id FROM instance JOIN series ON series.id = instance.series"
            f" WHERE state = 'pending' AND (instance.series, instance.id) > (?, ?){where}"
            " ORDER BY instance.series, instance.id LIMIT ?",
            (*after, *values, limit),
        )
        return [_reference(row) for row in found], found[-1][-2:] if found else after

    def enter_root(self, path: str) -> int:
        """The number of a folder that instances are written below."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO root (path) VALUES (?)", (path,))
            return int(connection.execute("SELECT id FROM root WHERE path = ?", (path,)).fetchone()[0])

    def enter_files(self, root: int, entries: Iterable[Entry]) -> None:
        """These instances are in their files."""
        now = _now()
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE instance SET state = 'done', root = ?, path = ?, size_bytes = ?, sha256 = ?, error = '',"
                " code = '', message = '', time = ? WHERE sop_instance_uid = ?",
                ((root, entry.path, entry.size_bytes, entry.sha256, now, entry.sop_instance_uid) for entry in entries),
            )

    def sync(self) -> None:
        """Bring what is committed to the disk."""
        self._read("PRAGMA wal_checkpoint(FULL)")

    def enter_losses(self, losses: Iterable[JobRow]) -> None:
        """These instances are refused or missing, or wait for another run, with the error they ended with."""
        now = _now()
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE instance SET state = ?, error = ?, code = ?, message = ?, time = ?"
                " WHERE sop_instance_uid = ? AND state <> 'done'",
                ((row.state, row.error, row.code, row.message, now, row.reference.sop_instance_uid) for row in losses),
            )

    def enter_attempts(self, attempts: Iterable[tuple[InstanceReference, int]]) -> None:
        """So many requests asked for these instances."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE instance SET attempts = attempts + ? WHERE sop_instance_uid = ?",
                ((count, reference.sop_instance_uid) for reference, count in attempts),
            )

    def ask_again(self, states: Iterable[JobState], shard: Shard | None = None) -> None:
        """What is in one of *states* is pending again."""
        where, values = _of(shard)
        with self._transaction() as connection:
            for state in states:
                connection.execute(
                    f"UPDATE instance SET {_FORGET} WHERE state = ? AND series IN"
                    f" (SELECT id FROM series WHERE TRUE{where})",
                    (state, *values),
                )

    def forget_files(self, references: Iterable[InstanceReference]) -> None:
        """These instances have no files any more; they are pending again."""
        with self._transaction() as connection:
            connection.executemany(
                f"UPDATE instance SET {_FORGET} WHERE sop_instance_uid = ?",
                ((reference.sop_instance_uid,) for reference in references),
            )

    # --- reading

    def status(self, shard: Shard | None = None) -> JobStatus:
        """The sum of it."""
        where, values = _of(shard)
        joined = f"FROM instance JOIN series ON series.id = instance.series WHERE TRUE{where}"
        alone = joined if shard else "FROM instance"
        counts = dict(self._read(f"SELECT state, count(*) {alone} GROUP BY state", values))
        [(size,)] = self._read(f"SELECT coalesce(sum(size_bytes), 0) {alone}", values)
        [(studies, series)] = self._read(
            "SELECT count(DISTINCT study_instance_uid),"
            f" count(DISTINCT study_instance_uid || ' ' || series_instance_uid) FROM series WHERE TRUE{where}",
            values,
        )
        reasons = self._read(
            f"SELECT error, code, count(*) AS n {joined} AND state IN ('refused', 'missing')"
            " GROUP BY error, code ORDER BY n DESC, error, code",
            values,
        )
        return JobStatus(
            studies=studies,
            series=series,
            instances=sum(counts.values()),
            **{state: counts.get(state, 0) for state in STATES},
            done_bytes=size,
            reasons=tuple(reasons),
        )

    def repositories(self, shard: Shard | None = None) -> set[str]:
        """Where its instances are; empty for those that the plan named no repository for."""
        where, values = _of(shard)
        found = self._read(f"SELECT DISTINCT repository_unique_id FROM series WHERE TRUE{where}", values)
        return {repository for (repository,) in found}

    def rejected(self) -> list[Rejected]:
        """What could not be planned, in the order of the input."""
        rows = self._read("SELECT file, line, reason FROM rejected ORDER BY id")
        return [Rejected(file=file, line=line, reason=reason) for file, line, reason in rows]

    def rows(self, states: Iterable[JobState] = STATES) -> Iterator[JobRow]:
        """The instances in *states*, series by series, read as they are taken."""
        chosen = tuple(states)
        marks = ", ".join("?" * len(chosen))
        # A connection of its own: others may write meanwhile, and this sees the job as it was when it began.
        with _translated(self.path), closing(_connect(_database(self.path))) as connection:
            query = f"SELECT * FROM instances WHERE state IN ({marks}) ORDER BY series, id"
            connection.row_factory = sqlite3.Row
            for row in connection.execute(query, chosen):
                yield _job_row(row)

    # --- the connection

    @contextmanager
    def attached(self, other: Path) -> Iterator[sqlite3.Connection]:
        """A transaction that can read *other*, a job too, as ``other``."""
        with Store(other):
            pass  # it is one
        with self._lock, _translated(self.path):
            self._connection.execute("ATTACH ? AS other", (_database(other),))
        try:
            with self._transaction() as connection:
                yield connection
        finally:
            with self._lock, _translated(self.path):
                self._connection.execute("DETACH other")

    def _check(self) -> None:
        with _translated(self.path):
            [(application,)] = self._connection.execute("PRAGMA application_id")
            [(version,)] = self._connection.execute("PRAGMA user_version")
            if application != APPLICATION_ID:
                raise JobError(f"{self.path.name} is not a job", hint="Make one: rad69 plan TABLE -o job.db")
            if version != SCHEMA_VERSION:
                raise JobError(f"{self.path.name} was made by another version of asyncrad69 (schema {version})")

    def _read(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock, _translated(self.path):
            return self._connection.execute(query, tuple(values)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            # Commits, or takes everything back.
            with self._connection:
                yield self._connection


_REFERENCE: Final = "study_instance_uid, series_instance_uid, sop_instance_uid, repository_unique_id, home_community_id"


# What SQLite says where the disk is full or broken, or access is refused.
_REFUSED: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the rest of it says more exactly where
        hint = STORAGE_HINT if code in _REFUSED else None
        raise StorageError(f"{path} cannot be used: {exc}", hint=hint) from exc
    except sqlite3.DatabaseError as exc:
        raise JobError(f"{path.name} is not a job, or is damaged: {exc}") from exc
    except OSError as exc:
        raise unwritable(path, exc) from exc


def _database(path: Path) -> str:
    """What SQLite opens the file *path* by: to be read only, where it cannot be written."""
    path = path.absolute()
    if all(os.access(each, os.W_OK) for each in (path, path.parent)) or path.with_name(f"{path.name}-wal").exists():
        return str(path)
    # SQLite would make files beside it even to read it, and they would be in its owner's way. Nobody has it open, or
    # they would be there.
    return f"{path.as_uri()}?immutable=1"


def _connect(database: str) -> sqlite3.Connection:
    # Autocommit, with BEGIN where it is meant. Threads take turns by the store's lock.
    connection = sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
    # WAL with NORMAL: a kill loses nothing that was committed; a power cut may lose the last moments, and no more.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)",
        (("schema version", str(SCHEMA_VERSION)), ("created", created), ("asyncrad69", __version__)),
    )


def _plan(connection: sqlite3.Connection, reference: InstanceReference) -> Planned:
    place = connection.execute(
        "SELECT study_instance_uid, series_instance_uid FROM instances WHERE sop_instance_uid = ?",
        (reference.sop_instance_uid,),
    ).fetchone()
    if place is not None:
        return "known" if place == (reference.study_instance_uid, reference.series_instance_uid) else "contradicting"
    connection.execute(
        "INSERT INTO instance (series, sop_instance_uid) VALUES (?, ?)",
        (_series_id(connection, reference), reference.sop_instance_uid),
    )
    return "new"


def _series_id(connection: sqlite3.Connection, reference: InstanceReference) -> int:
    key = (
        reference.study_instance_uid,
        reference.series_instance_uid,
        reference.repository_unique_id or "",
        reference.home_community_id or "",
    )
    found = connection.execute(f"SELECT id FROM series WHERE ({SERIES_KEY}) = (?, ?, ?, ?)", key).fetchone()
    if found:
        return int(found[0])
    added = connection.execute(
        f"INSERT INTO series ({SERIES_KEY}, study_number) VALUES (?, ?, ?, ?, ?)", (*key, study_number(key[0]))
    )
    return int(added.lastrowid or 0)


def _of(shard: Shard | None) -> tuple[str, tuple[int, ...]]:
    """A condition on series, and its values."""
    return ("", ()) if shard is None else (" AND study_number % ? = ?", (shard.count, shard.number))


def _reference(row: tuple[Any, ...]) -> InstanceReference:
    study, series, instance, repository, home = row[:5]
    return InstanceReference(
        study, series, instance, repository_unique_id=repository or None, home_community_id=home or None
    )


def _job_row(row: sqlite3.Row) -> JobRow:
    return JobRow(
        reference=_reference(tuple(row)),
        state=row["state"],
        attempts=row["attempts"],
        path=Path(row["root"], row["path"]) if row["path"] is not None else None,
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        error=row["error"],
        code=row["code"],
        message=row["message"],
        time=None if row["time"] is None else datetime.fromtimestamp(row["time"], UTC),
    )


def _now() -> float:
    return datetime.now(UTC).timestamp()
