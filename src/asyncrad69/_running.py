"""
A retrieve once it was started: its requests, when each goes out, and what is asked again.

The workers live in the client's task group, never in a generator's frame, so that no cancel scope ever encloses a
``yield``. What fails inside them is entered in the ledger; what ends the retrieve is kept, and raised by its iterator.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event as Signal,
    create_memory_object_stream,
    create_task_group,
    current_time,
)

from ._errors import ConnectionFailed, Rad69Error, ServerBusy, StorageError, without_frames
from ._events import RetrieveFinished, RetryScheduled
from ._exchange import Manner, NotAskedAgainError
from ._pace import Pace
from ._patience import Patience
from ._plan import Request, requests

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ._asking import Asking
    from ._endpoint import Endpoint
    from ._events import Watcher
    from ._ledger import Ledger
    from ._options import Options
    from ._references import InstanceReference
    from ._services import Services

#: What a worker waits for before each request: a window of time, room on the disk.
Admit: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    One endpoint in a retrieve.

    Attributes:
        endpoint: It.
        references: What is asked of it, all in all.
        manner: How it wants to be asked, as far as is known.
        patience: How long to go on with it.
    """

    endpoint: Endpoint
    references: tuple[InstanceReference, ...]
    manner: Manner
    patience: Patience


@dataclass(frozen=True, slots=True)
class Job:
    """A request, where it goes, and the earliest time for it, by the event loop's clock."""

    request: Request
    place: Place
    not_before: float = -math.inf

    @property
    def opens_at(self) -> float:
        """When it may go out, as far as can be said now."""
        return max(self.not_before, self.place.endpoint.gate.opens_at)


class Running:
    """
    The workers and their queue.

    Args:
        services: The client's.
        references: What is asked for; what the ledger has already is left out.
        options: How.
        ledger: Where it is entered.
        asking: Puts each request.
        watcher: Told what happens; what its function raises ends the retrieve.
        admit: What a worker waits for before each request; ``None`` for nothing.

    Attributes:
        finished: Set at the end, however it came.
        done: Whether all was asked for; else the retrieve was ended.
        error: Of the source or the disk, where it ended the retrieve.
        bug: What somebody else's code raised in a worker, or ours.
    """

    def __init__(
        self,
        services: Services,
        references: tuple[InstanceReference, ...],
        options: Options,
        *,
        ledger: Ledger,
        asking: Asking,
        watcher: Watcher,
        admit: Admit | None,
    ) -> None:
        self.finished = Signal()
        self.done = False
        self.error: Rad69Error | None = None
        self.bug: Exception | None = None
        self._references = references
        self._options = options
        self._ledger = ledger
        self._asking = asking
        self._watcher = watcher
        self._admit = admit
        self._throttle = services.throttle
        self._pace = Pace(None if options.concurrency == "auto" else options.concurrency)
        self._scope = CancelScope()
        self._stopping = Signal()
        self._started_at = monotonic()
        self._ended_at: float | None = None
        # A ticket for each job, so that workers can wait for one, and learn that none will come.
        self._tickets_in, self._tickets_out = create_memory_object_stream[None](math.inf)
        self._open_jobs = 0
        self._turns = CapacityLimiter(self._pace.allowed)
        planned = requests(ledger.pending(references), options)
        self._workers = min(self._pace.most, len(planned))
        self._places = self._places_of(planned, services)
        self._jobs = deque(Job(each, self._places[services.endpoint(each.repository_unique_id)]) for each in planned)
        self._announce(len(planned))

    def _places_of(self, planned: list[Request], services: Services) -> dict[Endpoint, Place]:
        asked: dict[Endpoint, list[InstanceReference]] = {}
        for request in planned:
            asked.setdefault(services.endpoint(request.repository_unique_id), []).extend(request.references)
        return {
            endpoint: Place(
                endpoint=endpoint,
                references=tuple(references),
                manner=Manner(endpoint, self._options.packaging, partial(self._turn, endpoint)),
                patience=Patience(self._options.retry, in_flight=self._workers),
            )
            for endpoint, references in asked.items()
        }

    # --- from outside

    @property
    def seconds(self) -> float:
        """Since the start, up to the end."""
        return (monotonic() if self._ended_at is None else self._ended_at) - self._started_at

    def start(self, tasks: TaskGroup) -> None:
        """Let the workers begin, in *tasks*."""
        tasks.start_soon(self._supervise, name="asyncrad69 retrieve")

    def stop_asking(self) -> None:
        """Send no further request."""
        self._stopping.set()
        self._tickets_in.close()

    def cancel(self) -> None:
        """End what is in flight."""
        self._scope.cancel()

    # --- the workers

    async def _supervise(self) -> None:
        try:
            with self._scope:
                async with create_task_group() as group:
                    for _ in range(self._workers):
                        group.start_soon(self._work, name="asyncrad69 worker")
                self.done = True
            if explanation := self._pace.explain():
                self._ledger.remarks[explanation] = 1
        except Exception as exc:  # noqa: BLE001 - raised by the iterator, in the caller's task
            self.bug = _first(exc)
        finally:
            self._ended_at = monotonic()
            try:
                self._say_how_it_ended()
            finally:
                self._close()

    def _say_how_it_ended(self) -> None:
        """In any case the last word is the report."""
        if self.error is not None:
            self._ledger.give_up(self.error, self._references)
        # Those that were in their files already, or given up with all the rest.
        self._tell_finished_series()
        self._watcher.tell(RetrieveFinished(report=self._ledger.report(self.seconds)))

    def _close(self) -> None:
        """Whoever waits for an instance learns that there is none."""
        self.finished.set()
        self._tickets_in.close()
        self._tickets_out.close()
        self._asking.instances.close()

    async def _work(self) -> None:
        with self._tickets_out.clone() as tickets:
            async for _ in tickets:
                job = self._next_job(current_time())
                while not await self._ran(job):
                    if self._stopping.is_set():
                        return

    def _next_job(self, now: float) -> Job:
        """The first job whose time has come, else the one whose time comes first."""
        job = next((each for each in self._jobs if each.opens_at <= now), None)
        job = job or min(self._jobs, key=attrgetter("opens_at"))
        self._jobs.remove(job)
        return job

    async def _ran(self, job: Job) -> bool:
        """Run *job* when it may go out; not if the gate is closed for longer by then, or nothing is asked any more."""
        if not self._ledger.pending(job.request.references):  # given up meanwhile: nothing to wait for
            await self._run(job.request, job.place)
            return True
        await self._pause_until(job.opens_at)
        if self._stopping.is_set():
            return False
        async with self._turns:
            if self._admit is not None:
                await self._admit()
            # A turn of the throttle's is taken last of all: the next one is late.
            while not self._stopping.is_set() and job.opens_at <= (now := current_time()):
                if (goes_at := self._throttle.request_at(now)) <= now:
                    await self._run(job.request, job.place)
                    return True
                await self._pause_until(goes_at)
            return False

    async def _turn(self, endpoint: Endpoint) -> bool:
        """Wait until a question may be put once more; whether anything is asked any more."""
        while not self._stopping.is_set():
            if self._admit is not None:
                await self._admit()
            goes_at = endpoint.gate.opens_at
            if goes_at <= (now := current_time()) and (goes_at := self._throttle.request_at(now)) <= now:
                return True
            await self._pause_until(goes_at)
        return False

    async def _pause_until(self, time: float) -> None:
        """Wait for a moment of the event loop's clock, or for the word that nothing more will be asked."""
        if time <= current_time():
            return
        with CancelScope(deadline=time):
            await self._stopping.wait()

    async def _run(self, request: Request, place: Place) -> None:
        """One question, and what follows from its answer."""
        before = len(self._ledger.pending(request.references))
        try:
            error = await self._answered(request, place)
        except NotAskedAgainError:
            return
        self._turns.total_tokens = self._pace.allowed
        # Its own: what other exchanges bring meanwhile says nothing about this one.
        progress = len(self._ledger.pending(request.references)) < before
        self._open_jobs -= 1
        go_on = place.patience.note(error, progress=progress, size=len(request.references))
        if error is not None and self._ends_everything(place, error, go_on=go_on):
            self._end_with(error)
            return
        again = self._ledger.settle(request, error, progress=progress)
        self._tell_finished_series()
        if self._options.on_failure == "stop" and (failure := self._ledger.first_failure()):
            self._end_with(failure)
            return
        wait_s = place.patience.wait_s(error or self._ledger.refusal(again), progress=progress)
        if isinstance(error, ServerBusy):
            place.endpoint.gate.close_until(current_time() + wait_s)
        self._schedule(place, again, wait_s)

    async def _answered(self, request: Request, place: Place) -> Rad69Error | None:
        """Ask, as the source wants to be asked; return what went wrong in the end, if anything did."""
        if not self._ledger.pending(request.references):
            return None
        try:
            await place.manner.ask(partial(self._asking.ask, request, place.endpoint, self._pace))
        except Rad69Error as exc:
            error = without_frames(exc)
            error.references = error.references or self._ledger.pending(request.references)
            return error
        return None

    def _schedule(self, place: Place, again: list[Request], wait_s: float) -> None:
        if self._stopping.is_set():
            return
        for request in again:
            self._watcher.tell(RetryScheduled(references=request.references, wait_s=wait_s))
        # Depth first: what is at fault is found before everything has been asked for in vain.
        self._jobs.extendleft(Job(request, place, current_time() + wait_s) for request in reversed(again))
        self._announce(len(again))

    def _announce(self, count: int) -> None:
        """So many jobs more are to be had; at the end, none will be."""
        self._open_jobs += count
        for _ in range(count):
            self._tickets_in.send_nowait(None)
        if not self._open_jobs:
            self._tickets_in.close()

    def _ends_everything(self, place: Place, error: Rad69Error, *, go_on: bool) -> bool:
        """Whether *error* ends the retrieve; else it may end what is asked of *place*, where there are others."""
        if go_on and not error.fatal:
            return False
        hopeless = error.fatal or (isinstance(error, ConnectionFailed) and not self._ledger.settled)
        if hopeless and (len(self._places) == 1 or isinstance(error, StorageError)):
            return True
        self._ledger.give_up(error, place.references)
        return False

    def _end_with(self, error: Rad69Error) -> None:
        if self.error is None:
            self.error = error
        self.cancel()

    def _tell_finished_series(self) -> None:
        for event in self._ledger.finished_series():
            self._watcher.tell(event)


def _first(exc: Exception) -> Exception:
    """Of a group that a task group made, what the first task raised: somebody else's code, or a bug in ours."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return exc
