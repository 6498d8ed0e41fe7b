"""
One retrieve, as its caller sees it: an iterator, and a report.

A stream that ends without the workers having said that they are done is a failure, not an end.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from anyio import EndOfStream, move_on_after

from ._asking import Asking
from ._content import Spool
from ._errors import Rad69Error
from ._events import InstanceFailed, InstancePresent, Watcher
from ._ledger import Ledger
from ._running import Running

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from ._asking import Store
    from ._instance import Instance
    from ._options import Options
    from ._references import InstanceReference
    from ._report import Report
    from ._running import Admit
    from ._services import Services

# How long to wait for workers that were cancelled; they have a socket to close each.
_GRACE_S = 5.0


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
        services: Services,
        references: tuple[InstanceReference, ...],
        options: Options,
        *,
        spool: Spool | None = None,
        store: Store | None = None,
        admit: Admit | None = None,
        present: Iterable[tuple[InstanceReference, Path, int]] = (),
    ) -> None:
        self._services = services
        self._references = references
        self._watcher = Watcher(options.on_event)
        # One way for all events, those of an exchange included.
        self._options = options if options.on_event is None else replace(options, on_event=self._watcher.tell)
        self._ledger = Ledger(references, options, on_failed=self._failed)
        self._asking = Asking(
            services,
            self._options,
            ledger=self._ledger,
            watcher=self._watcher,
            spool=spool or (None if options.spool_bytes is None else Spool(threshold=options.spool_bytes)),
            store=store,
        )
        self._admit = admit
        self._running: Running | None = None
        self._closed = False
        self._done_unasked = False
        for reference, path, size_bytes in present:
            self._ledger.there(reference, str(path), size_bytes)
            self._watcher.tell(InstancePresent(reference=reference, size_bytes=size_bytes))

    @property
    def report(self) -> Report:
        """What became of every instance, as of now; what is still to come counts as missing."""
        return self._ledger.report(self._running.seconds if self._running is not None else 0.0)

    async def __aenter__(self) -> Self:
        self._services.tasks()  # raises where the client is not open
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
            Exception: What ``on_event``, or other code of the caller's, raised.
            RuntimeError: The retrieve or its client was closed before all had come.
        """
        if self._running is None and not self._closed:
            self._running = self._start()
        if self._running is not None:
            with suppress(EndOfStream):
                return await self._asking.instances.take()
        self._raise_how_it_ended(self._running)
        raise StopAsyncIteration

    def _start(self) -> Running:
        tasks = self._services.tasks()
        running = Running(
            self._services,
            self._references,
            self._options,
            ledger=self._ledger,
            asking=self._asking,
            watcher=self._watcher,
            admit=self._admit,
        )
        self._watcher.end = running.cancel
        running.start(tasks)
        return running

    def _raise_how_it_ended(self, running: Running | None) -> None:
        if self._watcher.error is not None:
            raise self._watcher.error
        if running is not None and (error := running.bug or running.error) is not None:
            if isinstance(error, Rad69Error):
                error.report = self.report
            raise error
        if not (self._done_unasked if running is None else running.done):
            raise RuntimeError("the retrieve ended early: it or its client was closed before all had come")
        if self._options.on_failure != "report":
            self.report.raise_for_incomplete()

    async def aclose(self) -> None:
        """End what is in flight. The report stays. Does nothing the second time."""
        self.cancel()
        if self._running is None:
            return
        # Producers first, streams second, by their supervisor: the other way round they would die of broken streams.
        with move_on_after(_GRACE_S, shield=True):
            await self._running.finished.wait()
        self._asking.instances.abandon()

    def cancel(self) -> None:
        """As `aclose`, without waiting until what is in flight has ended."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()

    def stop_asking(self) -> None:
        """
        Send no further request. The iteration ends when what is in flight has come; the rest counts as missing, with no
        error of its own and no event `InstanceFailed`.
        """
        if self._running is not None:
            self._running.stop_asking()
        else:
            self._closed = self._done_unasked = True

    def put_back(self, instance: Instance) -> None:
        """Take a delivered instance back that the caller has not seen; for `Retrieval`."""
        self._asking.untaken(instance)

    def reject(self, instance: Instance, error: Rad69Error) -> None:
        """Take a delivered instance back: the caller's own reading of it failed with *error*."""
        self._ledger.withdraw(instance.reference, error)

    def _failed(self, reference: InstanceReference, error: Rad69Error | None) -> None:
        self._watcher.tell(InstanceFailed(reference=reference, error=error))
