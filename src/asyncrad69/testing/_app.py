"""The source as an ASGI application: HTTP in and out, the order of the steps, the log of requests."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ._access import check_security, maybe_challenge
from ._answer import Answer
from ._fault_plan import Drawn, FaultPlan, altered
from ._http import Reply, answer_reply, fault_reply, instead, send_reply, text_reply
from ._names import DOCUMENTS_ACTION
from ._outcome import Outcome, Problem, documents_outcome, outcome_of
from ._request import (
    Message,
    Refusal,
    Rejection,
    RetrieveRequest,
    UnsupportedMediaTypeError,
    check_addressing,
    documents_request,
    maybe_packaging,
    read_message,
    retrieve_request,
)
from ._requests_log import ReceivedRequest, Status

if TYPE_CHECKING:
    from asyncrad69._documents import DocumentReference

    from ._archive import Archive, StoredInstance
    from ._settings import Settings

#: Where the endpoint is.
PATH: Final = "/rad69"

# About 400 bytes of XML per instance: 40,000 of them in one request.
_MAX_REQUEST_SIZE: Final = 16 * 1024 * 1024

# ASGI 3: https://asgi.readthedocs.io/en/latest/specs/www.html
Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[dict[str, object]], Awaitable[None]]


@dataclass(slots=True)
class _Progress:
    """How far a request was understood, which is what the log can say of it."""

    headers: Mapping[str, str]
    message: Message | None = None
    request: RetrieveRequest | None = None
    documents: tuple[DocumentReference, ...] = ()
    drawn: Drawn = field(default_factory=Drawn)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def message_id(self) -> str | None:
        return self.message.message_id if self.message else None

    def received(self, http_status: int, status: Status) -> ReceivedRequest:
        references = self.request.references if self.request else ()
        repositories = [reference.repository_unique_id or "" for reference in references]
        repositories += [document.repository_unique_id for document in self.documents]
        return ReceivedRequest(
            status=status,
            http_status=http_status,
            packaging=maybe_packaging(self.content_type),
            content_type=self.content_type,
            headers=self.headers,
            action=self.message.action if self.message else None,
            message_id=self.message_id,
            sop_instance_uids=tuple(reference.sop_instance_uid for reference in references),
            document_unique_ids=tuple(each.document_unique_id for each in self.documents),
            repository_unique_ids=tuple(dict.fromkeys(repositories)),
            transfer_syntaxes=self.request.transfer_syntaxes if self.request else (),
            faults=self.drawn.kinds,
        )


@dataclass(slots=True, kw_only=True)
class App:
    """
    The ASGI application.

    Args:
        archive: What the source holds.
        settings: How it behaves.

    Attributes:
        documents: What ITI-43 may ask for, by document unique id.
        requests: What was asked, in the order the answers began.
        max_in_flight: The most answers that were under way at once.
    """

    archive: Archive
    settings: Settings
    documents: dict[str, StoredInstance] = field(default_factory=dict)
    requests: list[ReceivedRequest] = field(default_factory=list)
    max_in_flight: int = 0
    _in_flight: int = 0
    _message_ids: set[str] = field(default_factory=set)
    _plan: FaultPlan = field(init=False)

    def __post_init__(self) -> None:
        self._plan = FaultPlan(self.settings.faults, seed=self.settings.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["path"] != PATH:
            await send_reply(text_reply(404, f"the endpoint is {PATH}"), scope, send)
        elif scope["method"] != "POST":
            await send_reply(text_reply(405, "RAD-69 is asked with POST", (b"allow", b"POST")), scope, send)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _maybe_body(receive)
        if body is not None:
            await _unless_gone(self._answered(_Progress(_headers(scope)), body, scope, send), receive)

    async def _answered(self, progress: _Progress, body: bytes, scope: Scope, send: Send) -> None:
        busy = self._in_flight >= (self.settings.max_concurrency or math.inf)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            reply = self._busy(progress) if busy else self._reply(progress, body)
            await send_reply(reply, scope, send, bytes_per_s=self.settings.bytes_per_s)
        finally:
            self._in_flight -= 1

    def _busy(self, progress: _Progress) -> Reply:
        self.requests.append(progress.received(503, "Refused"))
        return text_reply(503, "too many requests at once", (b"retry-after", b"1"))

    def _reply(self, progress: _Progress, body: bytes) -> Reply:
        """Decide the answer and log the request. No network."""
        status: Status
        if len(body) > _MAX_REQUEST_SIZE:
            status, reply = "Refused", text_reply(413, f"a request has at most {_MAX_REQUEST_SIZE} bytes")
        elif challenge := maybe_challenge(progress.headers, self.settings.auth):
            status, reply = "Refused", text_reply(401, "credentials, please", (b"www-authenticate", challenge))
        else:
            status, reply = self._understood(progress, body)
        self.requests.append(progress.received(reply.http_status, status))
        return reply

    def _understood(self, progress: _Progress, body: bytes) -> tuple[Status, Reply]:
        try:
            outcome = self._outcome(progress, body)
        except UnsupportedMediaTypeError:
            return "Refused", text_reply(415, "RAD-69 is asked in MTOM packaging or application/soap+xml")
        except Refusal as refusal:
            return "Fault", fault_reply(refusal, self.settings.shape, progress.message_id)
        if planned := instead(progress.drawn, self.settings.shape, progress.message_id):
            return planned
        reply = answer_reply(self._answer(outcome, progress), self.settings, progress.drawn)
        latency_s = self.settings.latency_s + self.settings.latency_per_instance_s * len(outcome.documents)
        return outcome.status, replace(reply, delay_s=reply.delay_s + latency_s)

    def _answer(self, outcome: Outcome, progress: _Progress) -> Answer:
        another = any(progress.drawn.of_kind("wrong_relates_to"))
        return Answer(
            outcome,
            self.settings.shape,
            relates_to=f"urn:uuid:{uuid.uuid4()}" if another else progress.message_id or "",
            read_size=self.settings.read_size,
        )

    def _outcome(self, progress: _Progress, body: bytes) -> Outcome:
        message = progress.message = read_message(progress.content_type, body)
        check_addressing(message, seen=self._message_ids)
        check_security(message, self.settings.security_header)
        self._message_ids.add(message.message_id or "")
        if message.action == DOCUMENTS_ACTION:
            return self._documents_outcome(progress, documents_request(message))
        try:
            request = progress.request = retrieve_request(message)
        except Rejection as rejection:
            return Outcome((), (Problem(code=rejection.code, context=rejection.context, location=None),))
        progress.drawn = self._plan.drawn([each.sop_instance_uid for each in request.references])
        outcome = outcome_of(request, self.archive, repository_unique_id=self.settings.repository_unique_id)
        return altered(outcome, progress.drawn, self.archive)

    def _documents_outcome(self, progress: _Progress, asked: tuple[DocumentReference, ...]) -> Outcome:
        progress.documents = asked
        progress.drawn = self._plan.drawn([each.document_unique_id for each in asked])
        own = self.settings.repository_unique_id
        return altered(documents_outcome(asked, self.documents, repository_unique_id=own), progress.drawn, self.archive)


# --- HTTP ----------------------------------------------------------------------------------------------


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _maybe_body(receive: Receive) -> bytes | None:
    """The request's body, not much longer than the largest allowed; ``None`` if the client has gone."""
    body = bytearray()
    more = True
    while more and len(body) <= _MAX_REQUEST_SIZE:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return bytes(body)


async def _unless_gone(answering: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Answer until done, or until the client closes the connection: ``send`` does not tell that it did."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answering), group.create_task(_gone(receive))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
