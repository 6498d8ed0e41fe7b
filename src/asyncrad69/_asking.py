"""One request of a retrieve: what goes out, what comes, what is entered of it, and where its instances go."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from anyio import current_time

from ._content import Assembly
from ._dataset import DatasetReader
from ._errors import ExistingFileError, InvalidInstanceError, Rad69Error, without_frames
from ._events import InstanceVerified, RequestFinished, RequestStarted
from ._examination import examined
from ._exchange import Answer, exchange
from ._handover import Handover
from ._instance import Instance
from ._keeping import Keeping
from ._plan import Request
from ._soap_request import RetrieveImagingDocumentSet

if TYPE_CHECKING:
    from ._content import Share, Spool
    from ._endpoint import Endpoint
    from ._events import Watcher
    from ._exchange import Attempt, Document
    from ._keeping import Take
    from ._ledger import Ledger
    from ._options import Options
    from ._pace import Pace
    from ._services import Services

#: Writes instances to files; gives each one's file, or why it has none, up to the first error that is fatal.
Store: TypeAlias = Callable[[Sequence[Instance]], Awaitable[Sequence[Path | Rad69Error]]]

# Of series; each holds some 20 KB, as long as the retrieve lives.
_MOST_READERS: Final = 64


class Asking:
    """
    Args:
        services: The client's.
        options: How to ask.
        ledger: Where what comes is entered.
        watcher: Told what happens.
        spool: When instances go to a temporary file; ``None`` for never.
        store: Writes them to files; ``None`` where they go to the caller.

    Attributes:
        instances: Where the caller takes them.
    """

    def __init__(
        self,
        services: Services,
        options: Options,
        *,
        ledger: Ledger,
        watcher: Watcher,
        spool: Spool | None,
        store: Store | None,
    ) -> None:
        # An instance waits in the worker that brought it, which reads no further until it is taken.
        self.instances = Handover(self.untaken)
        self._services = services
        self._options = options
        self._ledger = ledger
        self._watcher = watcher
        self._spool = spool
        self._store = store
        # By series, the one that was used last at the end.
        self._readers: dict[str, DatasetReader] = {}

    async def ask(self, request: Request, endpoint: Endpoint, pace: Pace, attempt: Attempt) -> None:
        """
        Ask *endpoint* for what is still to come of *request*; enter in the ledger what came.

        Raises:
            Rad69Error: What went wrong.
        """
        wanted = Request(self._ledger.pending(request.references))
        if not wanted.references:
            return
        answer, message_id = Answer(), attempt.message_id
        self._ledger.ask(wanted)
        self._watcher.tell(RequestStarted(references=wanted.references, message_id=message_id))
        error: Rad69Error | None = None
        begun = pace.begun()
        try:
            await self._receive(wanted, endpoint, attempt, answer)
        except Rad69Error as exc:
            error = without_frames(exc)
            error.references = error.references or self._ledger.pending(wanted.references)
        finally:
            self._ledger.received_bytes += answer.received_bytes
        if attempt.packaging != self._options.packaging and error is None:
            self._ledger.remarks[f"the source takes {attempt.packaging} packaging only"] = 1
        self._enter(wanted, answer, error)
        pace.answered(begun, size_bytes=answer.received_bytes, now_s=current_time(), error=error)
        status = answer.manifest.status if answer.manifest and error is None else None
        finished = RequestFinished(references=wanted.references, message_id=message_id, status=status, error=error)
        self._watcher.tell(finished)
        if error is not None:
            raise error

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

    async def _receive(self, request: Request, endpoint: Endpoint, attempt: Attempt, answer: Answer) -> None:
        assembly = Assembly(self._services.memory, self._spool)
        reader = self._reader(request.references[0].series_instance_uid)
        question = RetrieveImagingDocumentSet(
            references=request.references,
            transfer_syntaxes=self._options.transfer_syntaxes,
            transaction=self._options.transaction,
        )

        async def bring(hand_over: Take) -> None:
            await exchange(
                endpoint,
                question,
                self._options,
                attempt,
                deliver=partial(self._deliver, hand_over, reader),
                answer=answer,
                assembly=assembly,
                throttle=self._services.throttle,
            )

        try:
            if self._store is None:
                await bring(self._give)
            else:
                await Keeping(partial(self._kept, self._store), self.put_back).during(bring)
        finally:
            assembly.close()

    def _reader(self, series_instance_uid: str) -> DatasetReader:
        """The one that knows what the series' instances have in common, from request to request."""
        reader = self._readers.pop(series_instance_uid, None) or DatasetReader()
        while len(self._readers) >= _MOST_READERS:
            del self._readers[next(iter(self._readers))]
        self._readers[series_instance_uid] = reader
        return reader

    # --- what comes

    async def _deliver(self, hand_over: Take, reader: DatasetReader, document: Document) -> None:
        with ExitStack() as unused:
            unused.callback(document.share.shrink)
            unused.callback(document.content.close)
            instance = await self._identified(document, reader)
            if instance is None:
                return
            unused.pop_all()
        # Entered first, so that a copy in another reply is known for one; taken back if the caller has left.
        self._watcher.tell(
            InstanceVerified(
                reference=instance.reference,
                size_bytes=instance.size_bytes,
                transfer_syntax_uid=instance.transfer_syntax_uid,
            )
        )
        if self._watcher.error is None:
            await hand_over(instance, document.share)
        else:
            document.share.shrink()
            self.put_back(instance)

    async def _identified(self, document: Document, reader: DatasetReader) -> Instance | None:
        """The instance that a document is, entered as delivered; ``None`` if it is not to be."""
        facts = await examined(document, self._options.limits, reader.likeness)
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
        return Instance(reference=reference, content=content, transfer_syntax_uid=syntax, error=error, reader=reader)

    # --- where it goes

    async def _give(self, instance: Instance, share: Share) -> None:
        share.complete()
        try:
            await self._hand_over(instance)
        finally:
            share.shrink()

    async def _hand_over(self, instance: Instance) -> None:
        try:
            await self.instances.give(instance)
        finally:
            self._ledger.handed_over(instance.reference)

    async def _kept(self, store: Store, instances: Sequence[Instance]) -> None:
        """Have *instances* written, and hand over those that are."""
        left, written = deque(instances), []
        fatal: Rad69Error | None = None
        try:
            for outcome in await store(instances):
                instance = left.popleft()
                if isinstance(outcome, Path):
                    self._ledger.written(instance.reference, str(outcome))
                    self._ledger.handed_over(instance.reference)
                    written.append(instance)
                elif isinstance(outcome, ExistingFileError):
                    self._ledger.withdraw(instance.reference, outcome)
                else:
                    self.put_back(instance)
                    fatal = outcome if outcome.fatal else fatal
        finally:
            for instance in left:
                self.put_back(instance)
        for instance in written:
            await self._hand_over(instance)
        if fatal is not None:
            raise fatal

    def untaken(self, instance: Instance) -> None:
        """Nobody took *instance*: take it back, unless it is where it was to go."""
        if self._store is None:
            self.put_back(instance)

    def put_back(self, instance: Instance) -> None:
        """Take *instance* back: it has not come."""
        self._ledger.put_back(instance.reference)
        instance.content.close()
