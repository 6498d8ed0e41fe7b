"""ITI-43: documents of a repository, all of them or an error. They are few and small beside images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import current_time, sleep, sleep_until

from ._content import Assembly
from ._documents import RetrievedDocument
from ._errors import InstanceNotAvailable, Rad69Error, ServerBusy, TruncatedResponse
from ._exchange import Answer, Manner, exchange, turn_of
from ._patience import Patience
from ._soap_request import RetrieveDocumentSet

if TYPE_CHECKING:
    from ._documents import DocumentReference
    from ._endpoint import Endpoint
    from ._exchange import Attempt, Document
    from ._options import Options
    from ._services import Services


async def retrieve_documents(
    services: Services, documents: tuple[DocumentReference, ...], options: Options
) -> tuple[RetrievedDocument, ...]:
    """
    Retrieve *documents*, in their order; described at `AsyncRad69.retrieve_documents`.

    One request per repository and community, one after the other. Events are of instances: there are none.
    """
    options = replace(options, on_event=None)
    home = options.home_community_id
    documents = tuple(each if each.home_community_id else replace(each, home_community_id=home) for each in documents)
    places: dict[tuple[str, str | None], list[DocumentReference]] = {}
    for each in documents:
        places.setdefault((each.repository_unique_id, each.home_community_id), []).append(each)
    came: dict[DocumentReference, RetrievedDocument] = {}
    for (repository, _), asked in places.items():
        came |= await _Batch(tuple(asked), options, services, services.endpoint(repository)).retrieve()
    return tuple(came[each] for each in documents)


class _Batch:
    """The documents of one repository: asked for until all are there, as long as the options' retry rules allow."""

    def __init__(
        self, asked: tuple[DocumentReference, ...], options: Options, services: Services, endpoint: Endpoint
    ) -> None:
        self._asked = {each.document_unique_id: each for each in asked}
        self._options = options
        self._services = services
        self._endpoint = endpoint
        self._manner = Manner(endpoint, options.packaging, self._turn)
        self._came: dict[DocumentReference, RetrievedDocument] = {}

    async def retrieve(self) -> dict[DocumentReference, RetrievedDocument]:
        patience, barren = Patience(self._options.retry, in_flight=1), 0
        while pending := self._pending():
            await self._turn()
            error = await self._ask()
            left = self._pending()
            if error is None or not left:
                continue
            progress = len(left) < len(pending)
            barren = 0 if progress else barren + 1
            patience.note(error, progress=progress, size=len(left))
            wait_s = patience.wait_s(error, progress=progress)
            if isinstance(error, ServerBusy):
                # Also where this one gives up: others ask the same endpoint.
                self._endpoint.gate.close_until(current_time() + wait_s)
            if self._options.retry.attempts == 1 or not error.retryable or barren == self._options.retry.attempts:
                raise error
            await sleep(wait_s)
        return self._came

    async def _turn(self) -> bool:
        """Wait until a question may be put. Gives ``True``."""
        while True:
            await sleep_until(self._endpoint.gate.opens_at)
            await turn_of(self._services.throttle)
            # Else another answer has closed the gate for longer meanwhile.
            if self._endpoint.gate.opens_at <= current_time():
                return True

    def _pending(self) -> tuple[DocumentReference, ...]:
        return tuple(each for each in self._asked.values() if each not in self._came)

    async def _ask(self) -> Rad69Error | None:
        """Ask for what is left; why something did not come, where something did not."""
        answer = Answer()

        async def ask(attempt: Attempt) -> None:
            nonlocal answer
            answer, assembly = Answer(), Assembly(self._services.memory, None)
            try:
                await exchange(
                    self._endpoint,
                    RetrieveDocumentSet(self._pending()),
                    self._options,
                    attempt,
                    deliver=self._deliver,
                    answer=answer,
                    assembly=assembly,
                    throttle=self._services.throttle,
                )
            finally:
                assembly.close()

        try:
            await self._manner.ask(ask)
        except Rad69Error as exc:
            return exc
        return self._why_not(answer)

    async def _deliver(self, document: Document) -> None:
        document.share.shrink()
        reference = self._asked.get(document.document_unique_id or "")
        if reference is None and document.document_unique_id and len(self._asked) == 1:
            # On demand, a document comes under an id of its own (ITI TF-2 3.43.5).
            (reference,) = self._asked.values()
        if reference is not None and document.flaw is None and document.content.size_bytes:
            self._came.setdefault(
                reference,
                RetrievedDocument(reference=reference, mime_type=document.media_type, data=document.content.data),
            )

    def _why_not(self, answer: Answer) -> Rad69Error | None:
        left = {each.document_unique_id for each in self._pending()}
        if not left:
            return None
        errors = [each for each in (answer.manifest.errors if answer.manifest else ()) if each.severity != "Warning"]
        named = [each for each in errors if each.location in left]
        if named or errors:
            return (named or errors)[0]
        if left & {each.document_unique_id for each in answer.absent}:
            return TruncatedResponse("a document was promised, and no part brought it")
        return InstanceNotAvailable(f"document {min(left)} did not come, and the repository names no reason")
