"""
One retrieve: many exchanges in flight, one iterator.

The workers live in the client's task group, never in a generator's frame, so that no cancel scope ever encloses a
``yield``. What fails inside them is entered in the ledger; what ends the retrieve is kept and raised by the
iterator. A stream that ends without the workers having said that they are done is a failure, not an end.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from anyio import EndOfStream, create_task_group, current_time, move_on_after

from ._content import Assembly, Spool
from ._errors import (
    ConnectionFailed,
    ExistingFileError,
    InvalidInstanceError,
    Rad69Error,
    ServerBusy,
    StorageError,
    without_frames,
)
from ._events import (
    Event,
    InstanceFailed,
    InstancePresent,
    InstanceVerified,
    RequestFinished,
    RequestStarted,
    RetrieveFinished,
    RetryScheduled,
)
from ._examination import bounds_of, examined
from ._exchange import Answer, Manner, exchange
from ._instance import Instance
from ._keeping import Keeping
from ._ledger import Ledger, Patience
from ._pace import Pace
from ._plan import Request, requests
from ._running import Job, Place, Running
from ._soap_request import RetrieveImagingDocumentSet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from ._content import MemoryBudget, Share
    from ._endpoint import Endpoint
    from ._exchange import Attempt, Document
    from ._keeping import Take
    from ._options import Options
    from ._references import InstanceReference
    from ._report import Report
    from ._throttle import Throttle

# How long to wait for workers that were cancelled; they have a socket to close each.
_GRACE_S = 5.0


class Owner(Protocol):
    """What a retrieve needs of its client."""

    def tasks(self) -> TaskGroup: ...

    def endpoint(self, repository_unique_id: str | None) -> Endpoint: ...

    def memory(self) -> MemoryBudget: ...

    def throttle(self) -> Throttle: ...


#: Writes instances to files; says what went wrong with each, up to the first error that is fatal.
Store: TypeAlias = "Callable[[Sequence[Instance]], Awaitable[Sequence[Rad69Error | None]]]"

#: What a worker waits for before each request: a window of time, room on the disk.
Admit: TypeAlias = "Callable[[], Awaitable[None]]"


class AsyncRetrieval:
    """
    One retrieve, and its report. Made by `AsyncRad69.retrieve`.

    Use it as an async context manager, and iterate over it for the instances, in the order they arrive. Nothing is
    sent before the first is asked for. Leaving the context ends what is still in flight.

        async with rad69.retrieve(references) as retrieval:
            async for instance in retrieval:
                ...
        print(retrieval.report)
    """

    def __init__(
        self,
        owner: Owner,
        references: tuple[InstanceReference, ...],
        options: Options,
        *,
        spool: Spool | None = None,
        keep: Store | None = None,
        admit: Admit | None = None,
    ) -> None:
        self._owner = owner
        # One way for all events, those of an exchange included.
        self._options = options if options.on_event is None else replace(options, on_event=self._emit)
        self._on_event = options.on_event
        self._spool = spool or (None if options.spool_bytes is None else Spool(threshold=options.spool_bytes))
        self._keep = keep
        self._admit = admit
        self._references = references
        self._ledger = Ledger(references, options, on_failed=self._failed)
        self._bounds = bounds_of(options.limits)
        self._pace = Pace(None if options.concurrency == "auto" else options.concurrency)
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._open_jobs = 0
        self._done = False
        self._closed = False
        self._error: Rad69Error | None = None
        self._bug: Exception | None = None
        self._running: Running | None = None

    # --- the caller's side

    @property
    def report(self) -> Report:
        """What became of every instance, as of now; what is still to come counts as missing."""
        return self._ledger.report(self._seconds())

    async def __aenter__(self) -> Self:
        self._owner.tasks()  # raises where the client is not open
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncRetrieval:
        return self

    async def __anext__(self) -> Instance:
        """
        The next instance.

        Raises:
            StopAsyncIteration: Everything has been delivered; or, with ``on_failure="report"``, all that could be.
            IncompleteRetrieveError: Something is refused or missing, and all that could be had was delivered.
            Rad69Error: What concerns the endpoint as a whole, at once and in every mode; its ``report`` says what
                came before.
        """
        if self._running is None and not self._closed:
            self._running = self._start()
        if self._running is not None:
            with suppress(EndOfStream):
                return await self._running.instances.take()
        self._raise_how_it_ended()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End what is in flight. The report stays. Does nothing the second time."""
        self.cancel()
        if self._running is None:
            return
        # Producers first, streams second, by their supervisor: the other way round they would die of broken streams.
        with move_on_after(_GRACE_S, shield=True):
            await self._running.finished.wait()
        self._running.instances.abandon()

    def cancel(self) -> None:
        """As `aclose`, without waiting until what is in flight has ended."""
        self._closed = True
        if self._running is not None:
            self._running.scope.cancel()

    def stop_asking(self) -> None:
        """
        Send no further request. The iteration ends when what is in flight has come; the rest counts as missing, with no
        error of its own and no event `InstanceFailed`.
        """
        if self._running is None:
            self._closed = self._done = True
            return
        self._running.stopping.set()
        self._running.tickets_in.close()

    def put_back(self, instance: Instance) -> None:
        """Take a delivered instance back that the caller has not seen; for `Retrieval`."""
        self._untaken(instance)

    def reject(self, instance: Instance, error: Rad69Error) -> None:
        """Take a delivered instance back: the caller's own reading of it failed with *error*."""
        self._ledger.withdraw(instance.reference, error)

    def written(self, instance: Instance, path: str) -> None:
        """Note the file that a delivered instance is in."""
        self._ledger.written(instance.reference, path)

    def there(self, reference: InstanceReference, path: str, size_bytes: int) -> None:
        """Note, before the start, that an instance is in a file already and need not be asked for."""
        self._ledger.there(reference, path, size_bytes)
        self._emit(InstancePresent(reference=reference, size_bytes=size_bytes))

    def check(self) -> None:
        """Raise what iterating to the end would raise now; nothing if the retrieve is complete."""
        if self._options.on_failure != "report":
            self.report.raise_for_incomplete()

    def _raise_how_it_ended(self) -> None:
        if self._bug is not None:
            raise self._bug
        if self._error is not None:
            self._error.report = self.report
            raise self._error
        if not self._done:
            raise RuntimeError("the retrieve ended early: it or its client was closed before all had come")
        self.check()

    def _seconds(self) -> float:
        if self._started_at is None:
            return 0.0
        return (monotonic() if self._ended_at is None else self._ended_at) - self._started_at

    # --- the workers' side

    def _start(self) -> Running:
        tasks = self._owner.tasks()
        running = Running(allowed=self._pace.allowed, untaken=self._untaken)
        self._started_at = monotonic()
        planned = requests(self._ledger.pending(self._references), self._options)
        workers = min(self._pace.most, len(planned))
        places = self._places(running, planned, workers)
        running.places = len(places)
        for request in planned:
            running.jobs.append(Job(request, places[self._owner.endpoint(request.repository_unique_id)]))
        self._announce(running, len(planned))
        tasks.start_soon(self._supervise, running, workers, name="asyncrad69 retrieve")
        return running

    def _places(self, running: Running, planned: list[Request], workers: int) -> dict[Endpoint, Place]:
        asked: dict[Endpoint, list[InstanceReference]] = {}
        for request in planned:
            asked.setdefault(self._owner.endpoint(request.repository_unique_id), []).extend(request.references)
        return {
            endpoint: Place(
                endpoint=endpoint,
                references=tuple(references),
                manner=Manner(endpoint, self._options.packaging, partial(self._turn, running)),
                patience=Patience(self._options.retry, in_flight=workers),
            )
            for endpoint, references in asked.items()
        }

    def _announce(self, running: Running, count: int) -> None:
        """So many jobs more are to be had; at the end, none will be."""
        self._open_jobs += count
        for _ in range(count):
            running.tickets_in.send_nowait(None)
        if not self._open_jobs:
            running.tickets_in.close()

    async def _supervise(self, running: Running, workers: int) -> None:
        try:
            with running.scope:
                async with create_task_group() as group:
                    for _ in range(workers):
                        group.start_soon(self._work, running, name="asyncrad69 worker")
                self._done = True
            if explanation := self._pace.explain():
                self._ledger.remarks[explanation] = 1
        except Exception as exc:  # noqa: BLE001 - raised by the iterator, in the caller's task
            self._bug = self._bug or _first(exc)
        finally:
            self._ended_at = monotonic()
            self._finish()
            running.close()

    def _finish(self) -> None:
        """However it ended, the last word is the report."""
        if self._error is not None:
            self._ledger.give_up(self._error, self._references)
        # Those that were in their files already, or given up with all the rest.
        self._emit_finished_series()
        self._emit(RetrieveFinished(report=self.report))

    async def _work(self, running: Running) -> None:
        with running.tickets_out.clone() as tickets:
            async for _ in tickets:
                job = running.next_job(current_time())
                while not await self._ran(running, job):
                    if running.stopping.is_set():
                        return

    async def _ran(self, running: Running, job: Job) -> bool:
        """Run *job* when it may go out; not if the gate is closed for longer by then, or nothing is asked any more."""
        if not self._ledger.pending(job.request.references):  # given up meanwhile: nothing to wait for
            await self._run(running, job.request, job.place)
            return True
        await running.pause_until(job.opens_at)
        if running.stopping.is_set():
            return False
        async with running.turns:
            if self._admit is not None:
                await self._admit()
            throttle = self._owner.throttle()
            # A turn of the throttle's is taken last of all: the next one is late.
            while not running.stopping.is_set() and job.opens_at <= (now := current_time()):
                if (goes_at := throttle.request_at(now)) <= now:
                    await self._run(running, job.request, job.place)
                    return True
                await running.pause_until(goes_at)
            return False

    async def _turn(self, running: Running) -> bool:
        """Wait for a turn of the throttle's, to put a question once more; whether anything is asked any more."""
        throttle = self._owner.throttle()
        while not running.stopping.is_set():
            if (goes_at := throttle.request_at(now := current_time())) <= now:
                return True
            await running.pause_until(goes_at)
        return False

    async def _run(self, running: Running, request: Request, place: Place) -> None:
        """One exchange, and what follows from it."""
        before = len(self._ledger.pending(request.references))
        error = await self._exchange(running, request, place)
        running.turns.total_tokens = self._pace.allowed
        # Its own: what other exchanges bring meanwhile says nothing about this one.
        progress = len(self._ledger.pending(request.references)) < before
        self._open_jobs -= 1
        go_on = place.patience.note(error, progress=progress, size=len(request.references))
        if error is not None and self._ends_everything(running, place, error, go_on=go_on):
            self._end_with(running, error)
            return
        again = self._ledger.settle(request, error, progress=progress)
        self._emit_finished_series()
        if self._options.on_failure == "stop" and (failure := self._ledger.first_failure()):
            self._end_with(running, failure)
            return
        wait_s = place.patience.wait_s(error or self._ledger.refusal(again), progress=progress)
        if isinstance(error, ServerBusy):
            place.endpoint.gate.close_until(current_time() + wait_s)
        self._schedule(running, place, again, wait_s)

    def _schedule(self, running: Running, place: Place, again: list[Request], wait_s: float) -> None:
        if running.stopping.is_set():
            return
        for request in again:
            self._emit(RetryScheduled(references=request.references, wait_s=wait_s))
        # Depth first: what is at fault is found before everything has been asked for in vain.
        running.jobs.extendleft(Job(request, place, current_time() + wait_s) for request in reversed(again))
        self._announce(running, len(again))

    def _ends_everything(self, running: Running, place: Place, error: Rad69Error, *, go_on: bool) -> bool:
        """Whether *error* ends the retrieve; else it may end what is asked of *place*, where there are others."""
        if go_on and not error.fatal:
            return False
        hopeless = error.fatal or (isinstance(error, ConnectionFailed) and not self._ledger.settled)
        if hopeless and (running.places == 1 or isinstance(error, StorageError)):
            return True
        self._ledger.give_up(error, place.references)
        return False

    def _end_with(self, running: Running, error: Rad69Error) -> None:
        if self._error is None:
            self._error = error
        running.scope.cancel()

    async def _exchange(self, running: Running, request: Request, place: Place) -> Rad69Error | None:
        """Ask, as the source wants to be asked; return what went wrong in the end, if anything did."""
        if not self._ledger.pending(request.references):
            return None
        try:
            await place.manner.ask(partial(self._attempt, running, request, place))
        except Rad69Error as exc:
            error = without_frames(exc)
            error.references = error.references or self._ledger.pending(request.references)
            return error
        return None

    async def _attempt(self, running: Running, request: Request, place: Place, attempt: Attempt) -> None:
        """Ask for what is still to come of *request*; enter in the ledger what came."""
        wanted = Request(self._ledger.pending(request.references))
        if not wanted.references:
            return
        answer, message_id = Answer(), attempt.message_id
        self._ledger.ask(wanted)
        self._emit(RequestStarted(references=wanted.references, message_id=message_id))
        error: Rad69Error | None = None
        try:
            await self._ask(running, wanted, place, attempt, answer)
        except Rad69Error as exc:
            error = without_frames(exc)
            error.references = error.references or self._ledger.pending(wanted.references)
        finally:
            self._ledger.received_bytes += answer.received_bytes
        if attempt.packaging != self._options.packaging and error is None:
            self._ledger.remarks[f"the source takes {attempt.packaging} packaging only"] = 1
        self._enter(wanted, answer, error)
        self._pace.answered(size_bytes=answer.received_bytes, now_s=current_time(), error=error)
        status = answer.manifest.status if answer.manifest and error is None else None
        self._emit(RequestFinished(references=wanted.references, message_id=message_id, status=status, error=error))
        if error is not None:
            raise error

    async def _ask(self, running: Running, request: Request, place: Place, attempt: Attempt, answer: Answer) -> None:
        assembly = Assembly(self._owner.memory(), self._spool)

        async def bring(hand_over: Take) -> None:
            await exchange(
                place.endpoint,
                self._question(request),
                self._options,
                attempt,
                deliver=partial(self._deliver, hand_over),
                answer=answer,
                assembly=assembly,
                throttle=self._owner.throttle(),
            )

        async def give(instance: Instance, share: Share) -> None:
            share.complete()
            try:
                await self._give(running, instance)
            finally:
                share.shrink()

        try:
            if self._keep is None:
                await bring(give)
            else:
                keep = partial(self._kept, running, self._keep)
                await Keeping(keep, self._put_back).during(bring)
        finally:
            assembly.close()

    def _question(self, request: Request) -> RetrieveImagingDocumentSet:
        return RetrieveImagingDocumentSet(
            references=request.references,
            transfer_syntaxes=self._options.transfer_syntaxes,
            transaction=self._options.transaction,
        )

    def _enter(self, request: Request, answer: Answer, error: Rad69Error | None) -> None:
        ledger = self._ledger
        for remark in answer.remarks:
            ledger.remarks[remark] += 1
        if answer.manifest is not None:
            ledger.refuse(request, answer.manifest.errors, promised=answer.manifest.promised)
        for document in answer.absent:
            ledger.absent(document.document_unique_id)
        if error is not None:
            ledger.answers[type(error).__name__] += 1
        elif answer.manifest is not None:
            ledger.answers[answer.manifest.status] += 1

    async def _deliver(self, hand_over: Take, document: Document) -> None:
        with ExitStack() as unused:
            unused.callback(document.share.shrink)
            unused.callback(document.content.close)
            instance = await self._identified(document)
            if instance is None:
                return
            unused.pop_all()
        # Entered first, so that a copy in another reply is known for one; taken back if the caller has left.
        if self._on_event is not None:
            self._emit(
                InstanceVerified(
                    reference=instance.reference,
                    size_bytes=instance.size_bytes,
                    transfer_syntax_uid=instance.transfer_syntax_uid,
                )
            )
        if self._bug is None:
            await hand_over(instance, document.share)
        else:
            document.share.shrink()
            self._put_back(instance)

    async def _identified(self, document: Document) -> Instance | None:
        """The instance that a document is, entered as delivered; ``None`` if it is not to be."""
        facts = await examined(document, self._bounds)
        error = None
        try:
            reference = self._ledger.identify(document.document_unique_id, facts)
        except InvalidInstanceError as exc:
            if not self._ledger.flawed(without_frames(exc)):
                return None
            error, reference = exc, exc.references[0]
        if reference is None:
            return None
        content, syntax = document.content, facts.transfer_syntax_uid
        self._ledger.deliver(reference, facts, content.size_bytes, error)
        return Instance(reference=reference, content=content, transfer_syntax_uid=syntax, error=error)

    async def _kept(self, running: Running, store: Store, instances: Sequence[Instance]) -> None:
        """Have *instances* written, and hand over those that are."""
        left, written = deque(instances), []
        fatal: Rad69Error | None = None
        try:
            for error in await store(instances):
                instance = left.popleft()
                if error is None:
                    written.append(instance)
                elif isinstance(error, ExistingFileError):
                    self._ledger.withdraw(instance.reference, error)
                else:
                    self._put_back(instance)
                    fatal = error if error.fatal else fatal
        finally:
            for instance in left:
                self._put_back(instance)
        for instance in written:
            await self._give(running, instance)
        if fatal is not None:
            raise fatal

    async def _give(self, running: Running, instance: Instance) -> None:
        try:
            await running.instances.give(instance)
        finally:
            self._ledger.handed_over(instance.reference)

    def _untaken(self, instance: Instance) -> None:
        if self._keep is None:  # else it is where it was to go
            self._put_back(instance)

    def _put_back(self, instance: Instance) -> None:
        self._ledger.put_back(instance.reference)
        instance.content.close()

    def _failed(self, reference: InstanceReference, error: Rad69Error | None) -> None:
        self._emit(InstanceFailed(reference=reference, error=error))

    def _emit_finished_series(self) -> None:
        for event in self._ledger.finished_series():
            self._emit(event)

    def _emit(self, event: Event) -> None:
        """Tell the caller's function. What it raises ends the retrieve, and is raised by the iterator as it is."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as exc:
            if self._running is None:
                raise
            self._bug = self._bug or exc
            self._running.scope.cancel()


def _first(exc: Exception) -> Exception:
    """Of a group that a task group made, what the first task raised: somebody else's code, or a bug in ours."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return exc
