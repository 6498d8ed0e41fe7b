"""The source as an ASGI application: HTTP in and out, the order of the steps, the log of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ._answer import Answer, fault_xml
from ._names import SOAP_MEDIA_TYPE
from ._outcome import Outcome, outcome_of
from ._request import (
    Fault,
    Message,
    RetrieveRequest,
    UnsupportedMediaTypeError,
    check_addressing,
    maybe_packaging,
    read_message,
    retrieve_request,
)
from ._requests_log import ReceivedRequest, Status

if TYPE_CHECKING:
    from ._archive import Archive

#: Where the endpoint is.
PATH: Final = "/rad69"

# About 400 bytes of XML per instance: 40,000 of them in one request.
_MAX_REQUEST_SIZE: Final = 16 * 1024 * 1024

# ASGI 3: https://asgi.readthedocs.io/en/latest/specs/www.html
Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[dict[str, object]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    An HTTP response.

    Attributes:
        http_status: Its status.
        headers: Its headers, as ASGI wants them. Without a Content-Length it is sent in chunked coding.
        chunks: Its body.
        reads_files: Whether the next chunk may block.
    """

    http_status: int
    headers: list[tuple[bytes, bytes]]
    chunks: Iterator[bytes]
    reads_files: bool = False


@dataclass(slots=True)
class _Progress:
    """How far a request was understood, which is what the log can say of it."""

    headers: Mapping[str, str]
    message: Message | None = None
    request: RetrieveRequest | None = None

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def message_id(self) -> str | None:
        return self.message.message_id if self.message else None

    def received(self, http_status: int, status: Status) -> ReceivedRequest:
        references = self.request.references if self.request else ()
        repositories = (reference.repository_unique_id or "" for reference in references)
        return ReceivedRequest(
            status=status,
            http_status=http_status,
            packaging=maybe_packaging(self.content_type),
            content_type=self.content_type,
            headers=self.headers,
            action=self.message.action if self.message else None,
            message_id=self.message_id,
            sop_instance_uids=tuple(reference.sop_instance_uid for reference in references),
            repository_unique_ids=tuple(dict.fromkeys(repositories)),
            transfer_syntaxes=self.request.transfer_syntaxes if self.request else (),
        )


@dataclass(slots=True, kw_only=True)
class App:
    """
    The ASGI application.

    Args:
        archive: What the source holds.
        repository_unique_id: Its own.
        read_size: How much of an instance is read and sent at a time, in bytes.

    Attributes:
        requests: What was asked, in the order the answers began.
        max_in_flight: The most answers that were under way at once.
    """

    archive: Archive
    repository_unique_id: str
    read_size: int
    requests: list[ReceivedRequest] = field(default_factory=list)
    max_in_flight: int = 0
    _in_flight: int = 0
    _message_ids: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["path"] != PATH:
            await _send(_text(404, f"the endpoint is {PATH}"), send)
        elif scope["method"] != "POST":
            await _send(_text(405, "RAD-69 is asked with POST", (b"allow", b"POST")), send)
        else:
            await self._exchange(_headers(scope), receive, send)

    async def _exchange(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        body = await _maybe_body(receive)
        if body is not None:
            await _unless_gone(self._answered(_Progress(headers), body, send), receive)

    async def _answered(self, progress: _Progress, body: bytes, send: Send) -> None:
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            await _send(self._reply(progress, body), send)
        finally:
            self._in_flight -= 1

    def _reply(self, progress: _Progress, body: bytes) -> Reply:
        """Decide the answer and log the request. No I/O."""
        status: Status
        if len(body) > _MAX_REQUEST_SIZE:
            status, reply = "Refused", _text(413, f"a request has at most {_MAX_REQUEST_SIZE} bytes")
        else:
            status, reply = self._understood(progress, body)
        self.requests.append(progress.received(reply.http_status, status))
        return reply

    def _understood(self, progress: _Progress, body: bytes) -> tuple[Status, Reply]:
        try:
            outcome = self._outcome(progress, body)
        except UnsupportedMediaTypeError:
            return "Refused", _text(415, "RAD-69 is asked in MTOM packaging or application/soap+xml")
        except Fault as fault:
            return "Fault", _fault(fault, progress.message_id)
        answer = Answer(outcome, relates_to=progress.message_id or "", read_size=self.read_size)
        return outcome.status, _multipart(answer)

    def _outcome(self, progress: _Progress, body: bytes) -> Outcome:
        message = progress.message = read_message(progress.content_type, body)
        check_addressing(message, seen=self._message_ids)
        self._message_ids.add(message.message_id or "")
        request = progress.request = retrieve_request(message)
        return outcome_of(request, self.archive, repository_unique_id=self.repository_unique_id)


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


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.http_status, "headers": reply.headers})
    pull = partial(next, reply.chunks, b"")
    while chunk := (await asyncio.to_thread(pull) if reply.reads_files else pull()):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


def _multipart(answer: Answer) -> Reply:
    return Reply(
        http_status=200,
        headers=[(b"content-type", answer.content_type.encode())],
        chunks=answer.chunks(),
        reads_files=answer.reads_files,
    )


def _fault(fault: Fault, relates_to: str | None) -> Reply:
    # SOAP 1.2 part 2, table 20: 400 for Sender, 500 for all others.
    http_status = 400 if fault.code == "Sender" else 500
    return _whole(http_status, f"{SOAP_MEDIA_TYPE}; charset=utf-8", fault_xml(fault, relates_to=relates_to))


def _text(http_status: int, text: str, *headers: tuple[bytes, bytes]) -> Reply:
    return _whole(http_status, "text/plain; charset=utf-8", f"{text}\n".encode(), *headers)


def _whole(http_status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    length = (b"content-length", str(len(body)).encode())
    return Reply(
        http_status=http_status,
        headers=[(b"content-type", content_type.encode()), length, *headers],
        chunks=iter((body,)),
    )
