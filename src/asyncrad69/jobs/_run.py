"""A run: batch after batch of what is pending goes through one retrieve each, and its outcome back into the job."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event as Signal, current_time, move_on_after

from asyncrad69._download import Download
from asyncrad69._errors import (
    ConnectionFailed,
    Rad69Error,
    RegistryError,
    ServerBusy,
    StorageError,
    unwritable,
)
from asyncrad69._events import InstanceFailed, RetrieveFinished
from asyncrad69._plan import addressed
from asyncrad69._threads import in_thread
from asyncrad69._to_files import close, retrieval_to

from ._records import JobRecords
from ._store import START
from ._words import JobRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from pathlib import Path

    from asyncrad69._client import AsyncRad69
    from asyncrad69._download import Durability, Existing
    from asyncrad69._endpoint import Endpoint
    from asyncrad69._events import Event, OnEvent
    from asyncrad69._options import Options
    from asyncrad69._references import InstanceReference
    from asyncrad69._report import Row
    from asyncrad69._retrieval import AsyncRetrieval

    from ._rules import Rules
    from ._store import Store
    from ._words import JobState, Shard

# At the end of a batch fewer requests are in flight than allowed, so there are many series in one; each instance of it
# holds about 2 KB.
BATCH: Final = 10_000
# How long to wait before looking again whether there is room, or whether the source is back.
_LOOK_AGAIN_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Runner:
    """
    One run of a job.

    Args:
        store: The job.
        client: Open.
        target: A folder or a template.
        options: Of the retrieves.
        shard: Only of this one.
        rules: When it may ask, and when it ends early.
        existing: As for `AsyncRad69.download`.
        durability: Likewise.
        on_wait: Told why the run waits, in words.
    """

    store: Store
    client: AsyncRad69
    target: str | PathLike[str]
    options: Options
    shard: Shard | None
    rules: Rules
    existing: Existing
    durability: Durability
    on_wait: Callable[[str], None]
    _stopping: Signal = field(default_factory=Signal)
    _retrieval: AsyncRetrieval | None = None
    _failures: dict[str, Rad69Error | None] = field(default_factory=dict)
    _failure_count: int = 0
    _reached: bool = False
    _left_behind: bool = False
    _closed: set[Endpoint] = field(default_factory=set)
    _fatal: Rad69Error | None = None
    _away_since: float | None = None
    _said: str = ""

    def stop(self) -> None:
        """Ask for nothing more: the run ends when what is in flight is written."""
        self._stopping.set()
        if self._retrieval is not None:
            self._retrieval.stop_asking()

    async def run(self) -> None:
        """
        Until nothing is pending, or it is stopped.

        Raises:
            Rad69Error: What concerns the disk or an endpoint as a whole; of several endpoints, when the others have
                given all they have. What came before is in the job.
        """
        records = partial(JobRecords, self.store)
        files = await in_thread(
            partial(Download, self.target, existing=self.existing, durability=self.durability, records=records)
        )
        try:
            states: tuple[JobState, ...] = ("missing", "refused") if self.rules.ask_refused else ("missing",)
            await in_thread(partial(self.store.ask_again, states, self.shard))
            position = START
            while not self._stopping.is_set():
                pending, after = await in_thread(partial(self.store.next_pending, position, BATCH, self.shard))
                if pending:
                    position = after if await self._batch(files, pending) else position
                elif self._left_behind:
                    # The source was away in the middle of a batch. What came after that may have been had since.
                    self._left_behind, position = False, START
                else:
                    break
        finally:
            await close(files)
        if self._fatal is not None:
            raise self._fatal

    async def _batch(self, files: Download, pending: list[InstanceReference]) -> bool:
        """One retrieve; whether to go on to the next, or to ask for the rest of this one again."""
        self._failures = {}
        wanted = tuple(each for each in addressed(pending, self.options) if self._endpoint(each) not in self._closed)
        if not wanted:
            return True
        retrieval = await retrieval_to(
            self.client.services, files, wanted, self.options, admit=partial(self._admit, files.root)
        )
        self._retrieval = retrieval
        try:
            async with retrieval:
                if self._stopping.is_set():
                    retrieval.stop_asking()
                async for _ in retrieval:
                    pass
        except Rad69Error as exc:
            if _is_away(exc):
                if not self._reached:
                    raise
            # The disk is there for every endpoint; and what a receiver of events raises is in no row.
            elif isinstance(exc, StorageError) or all(row.error is not exc for row in retrieval.report.rows):
                raise
        finally:
            self._retrieval = None
            with CancelScope(shield=True):
                await in_thread(partial(self._enter, files, retrieval))
        await self._close_endpoints(retrieval.report.rows)
        return await self._is_reachable(retrieval)

    def _endpoint(self, reference: InstanceReference) -> Endpoint:
        return self.client.services.endpoint(reference.repository_unique_id)

    async def _close_endpoints(self, rows: tuple[Row, ...]) -> None:
        """Ask endpoints that answered with something fatal for nothing more; it ends the run where no other is left."""
        for row in rows:
            if row.error is not None and row.error.fatal:
                self._closed.add(self._endpoint(row.reference))
                self._fatal = self._fatal or row.error
        if self._fatal is None:
            return
        named = await in_thread(partial(self.store.repositories, self.shard))
        if {self.client.services.endpoint(each or self.options.repository_unique_id) for each in named} <= self._closed:
            raise self._fatal

    # --- what came of it

    def _enter(self, files: Download, retrieval: AsyncRetrieval) -> None:
        """Write the outcome of a batch to the job. What came is there already, or was not yet synced."""
        rows = retrieval.report.rows
        files.flush()
        self.store.enter_attempts((row.reference, row.attempts) for row in rows if row.attempts)
        self.store.enter_losses(self._losses(rows))
        self._reached = self._reached or _brought_something(rows)

    def _losses(self, rows: tuple[Row, ...]) -> Iterator[JobRow]:
        for row in rows:
            uid = row.reference.sop_instance_uid
            if row.state != "delivered" and uid in self._failures:
                yield _loss(row, self._failures[uid])

    async def _is_reachable(self, retrieval: AsyncRetrieval) -> bool:
        """Whether to go on; a source that answered nothing is waited for."""
        rows = retrieval.report.rows
        away = next((row.error for row in rows if row.error and row.state != "delivered" and _is_away(row.error)), None)
        if away is None or self._stopping.is_set() or _brought_something(rows):
            self._left_behind = self._left_behind or away is not None
            self._away_since = None
            return True
        now = current_time()
        self._away_since = now if self._away_since is None else self._away_since
        if not self._reached or now - self._away_since >= self.rules.max_away_s:
            raise away
        self._say("the source is busy or out of reach")
        await self._pause(_LOOK_AGAIN_S)
        return False

    # --- events

    def watch(self, on_event: OnEvent | None) -> OnEvent:
        """What the retrieves tell: failures, counted here; and everything but their ends, to *on_event*."""

        def note(event: Event) -> None:
            if isinstance(event, InstanceFailed):
                self._fail(event)
            # A retrieve is a batch, and no end of anything that somebody watches.
            if on_event is not None and not isinstance(event, RetrieveFinished):
                on_event(event)

        return note

    def _fail(self, event: InstanceFailed) -> None:
        self._failures[event.reference.sop_instance_uid] = event.error
        if _is_final(event.error):
            self._failure_count += 1
            if self.rules.stop_after_failures is not None and self._failure_count >= self.rules.stop_after_failures:
                self.stop()

    # --- waiting

    async def _admit(self, root: Path) -> None:
        """Wait until the rules let a request go out, or the run is stopped."""
        while not self._stopping.is_set():
            now = _now()
            window = self.rules.window
            if window is not None and not window.has(now):
                self._say(f"outside the window {window}")
                await self._pause(min((window.opens(now) - now).total_seconds(), _LOOK_AGAIN_S))
            elif self.rules.min_free_bytes and await self._is_full(root):
                self._say("less room on the disk than the run has to leave free")
                await self._pause(_LOOK_AGAIN_S)
            else:
                self._said = ""
                return

    async def _is_full(self, root: Path) -> bool:
        try:
            return await in_thread(partial(_free_bytes, root)) < self.rules.min_free_bytes
        except StorageError as exc:
            # Raised when what is in flight has ended: here it would be raised in the middle of a worker.
            self._fatal = self._fatal or exc
            self.stop()
            return False

    async def _pause(self, seconds: float) -> None:
        with move_on_after(seconds):
            await self._stopping.wait()

    def _say(self, why: str) -> None:
        # Once, however many workers wait for it.
        if why != self._said:
            self._said = why
            self.on_wait(why)


def _now() -> datetime:
    """The time on the wall, which windows are about."""
    return datetime.now()  # noqa: DTZ005 - local time it is


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as exc:
        raise unwritable(folder, exc) from exc


def _brought_something(rows: tuple[Row, ...]) -> bool:
    return any(row.state == "delivered" and row.attempts for row in rows)


def _is_away(error: Rad69Error | None) -> bool:
    return isinstance(error, ConnectionFailed | ServerBusy)


def _is_final(error: Rad69Error | None) -> bool:
    """Whether an error says something about the instance, and not about the source or our own side as a whole."""
    return not _is_away(error) and not (error is not None and error.fatal)


def _loss(row: Row, error: Rad69Error | None) -> JobRow:
    final = _is_final(error)
    return JobRow(
        reference=row.reference,
        state=("refused" if row.state == "refused" else "missing") if final else "pending",
        error=type(error).__name__ if error else "",
        code=error.error_code if isinstance(error, RegistryError) else "",
        message=error.message if error else "the source said nothing about it",
    )
