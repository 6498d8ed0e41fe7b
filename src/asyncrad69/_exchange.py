"""One exchange: a request goes out, its reply is read as it comes, and every document is handed over whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from anyio import current_time, sleep_until

from ._content_encoding import content_decoder
from ._errors import HTTPStatusRefused, Rad69Error, SoapError, SoapFault
from ._events import BytesReceived
from ._reply import Part, Reply, ReplyEvent, check_status
from ._soap import DocumentResponse, Manifest
from ._soap_request import ACCEPT, mtom_body, new_message_id, simple_body
from ._threads import in_thread

if TYPE_CHECKING:
    from ._content import Assembly, Share
    from ._endpoint import Endpoint
    from ._identity import Proof
    from ._instance import Content
    from ._options import Options, Packaging
    from ._soap_request import Question
    from ._throttle import Throttle

# For more instances than this, an envelope takes longer to write, and a manifest to read, than an event loop should
# wait (about 10 ms).
_MANY_INSTANCES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """
    One document of a reply, complete as MIME goes; whether it is whole as DICOM goes is not yet known.

    Attributes:
        document_unique_id: What the manifest calls it; ``None`` where nothing names it.
        media_type: The manifest's mimeType or the part's Content-Type; may be empty.
        content: The bytes exactly as sent.
        share: What they hold of the memory budget; whoever the document is delivered to gives it back.
        flaw: Why they cannot be used; ``None`` as a rule.
    """

    document_unique_id: str | None
    media_type: str
    content: Content
    share: Share
    flaw: str | None


@dataclass(slots=True, kw_only=True)
class Answer:
    """
    What an exchange brought beside its documents. It fills while the reply is read, so that an exchange that ends
    early leaves what it had.
    """

    manifest: Manifest | None = None
    absent: tuple[DocumentResponse, ...] = ()
    remarks: list[str] = field(default_factory=list)
    received_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    One time that a question is put.

    Attributes:
        message_id: Its wsa:MessageID.
        packaging: How its envelope is packed.
        proof: Who asks.
    """

    message_id: str
    packaging: Packaging
    proof: Proof


Deliver = Callable[[Document], Awaitable[None]]
Ask = Callable[[Attempt], Awaitable[None]]
Turn = Callable[[], Awaitable[bool]]


async def exchange(
    endpoint: Endpoint,
    question: Question,
    options: Options,
    attempt: Attempt,
    *,
    deliver: Deliver,
    answer: Answer,
    assembly: Assembly,
    throttle: Throttle,
) -> None:
    """
    Ask *question* and *deliver* its documents, one after the other, as they come.

    While a document is being delivered nothing is read, so that a slow consumer slows the source down; the limits
    of `Timeout` do not run.

    Raises:
        Rad69Error: The exchange failed. What was delivered before stays delivered.
    """
    to, proof = options.to or endpoint.url, attempt.proof
    envelope = await _envelope(question, to=to, message_id=attempt.message_id, security_header=proof.security_header)
    pack = mtom_body if attempt.packaging == "mtom" else simple_body
    content_type, body = pack(envelope, question.action)
    posting = endpoint.post(body, content_type=content_type, accept=ACCEPT, timeouts=options.timeout, token=proof.token)
    async with posting as (response, blocks):
        check_status(response.status, response.content_type, retry_after_s=response.retry_after_s)
        reply = Reply(
            http_status=response.status,
            content_type=response.content_type,
            limits=options.limits.of_reply(question.asked),
        )
        answer.remarks = reply.remarks
        decoder = content_decoder(response.content_encoding, max_inflation=options.limits.max_inflation)
        reading = _Reading(reply, answer, attempt.message_id, deliver, assembly, question.asked)
        # Plain loops: a generator in the way would be left unfinished when the reply is complete before its end.
        async for block in blocks:
            answer.received_bytes += len(block)
            if options.on_event is not None:
                options.on_event(BytesReceived(size_bytes=len(block)))
            for decoded in decoder.feed(block):
                await reading.read(decoded)
            # Outside of the waits that the timeouts bound. The source waits as it does for a slow consumer.
            if throttle.slows_reading and (go_on_at := throttle.read_at(len(block), now := current_time())) > now:
                await sleep_until(go_on_at)
            if reply.complete:
                break  # whatever follows the closing delimiter is no business of ours
        else:
            decoder.finish()
        await reading.finish()


async def turn_of(throttle: Throttle) -> bool:
    """Wait until *throttle* lets a request out, and enter it. Gives ``True``."""
    while (at := throttle.request_at(now := current_time())) > now:  # noqa: ASYNC110 - others may take the turn
        await sleep_until(at)
    return True


async def _envelope(question: Question, *, to: str, message_id: str, security_header: bytes) -> bytes:
    write = partial(question.xml, to=to, message_id=message_id, security_header=security_header)
    return await in_thread(write) if question.asked > _MANY_INSTANCES else write()


class _Reading:
    """The pump: bytes into the `Reply`, its events into documents."""

    def __init__(
        self, reply: Reply, answer: Answer, message_id: str, deliver: Deliver, assembly: Assembly, asked: int
    ) -> None:
        self._reply = reply
        self._asked = asked
        self._answer = answer
        self._message_id = message_id
        self._deliver = deliver
        self._part: Part | None = None
        self._assembly = assembly

    async def read(self, data: bytes) -> None:
        await self._handle(self._reply.feed(data))

    async def finish(self) -> None:
        await self._handle(self._reply.finish())
        self._answer.absent = self._reply.absent

    async def _handle(self, events: Iterator[ReplyEvent]) -> None:
        if self._parses_long():
            events = chain(await in_thread(partial(_up_to_the_manifest, events)), events)
        for event in events:
            if isinstance(event, Part):
                self._part = event
            elif isinstance(event, Manifest):
                self._check_relation(event)
            elif event is not None:
                await self._assembly.add(event)
            else:
                await self._complete()

    def _parses_long(self) -> bool:
        """Whether the next event may take long: a long root part has come, or will come in one block with its end."""
        return self._reply.manifest is None and (self._reply.parses_long or self._asked > _MANY_INSTANCES)

    def _check_relation(self, manifest: Manifest) -> None:
        # WS-Addressing 1.0 core, 3.4. A connection out of step can carry the answer to another question, and with
        # it another patient. Absent is tolerated: some sources leave it out.
        if manifest.relates_to is not None and manifest.relates_to != self._message_id:
            raise SoapError("the reply answers another request: its RelatesTo is not our MessageID")
        self._answer.manifest = manifest

    async def _complete(self) -> None:
        part, self._part = self._part, None
        content, share = await self._assembly.take()
        if part is not None:
            await self._deliver(
                Document(
                    document_unique_id=part.document_unique_id,
                    media_type=part.media_type,
                    content=content,
                    share=share,
                    flaw=part.flaw,
                )
            )


class NotAskedAgainError(Exception):
    """A question that was to be put once more was not: nothing is asked any more. Its answer is still to come."""


class Manner:
    """
    How a source wants to be asked: by whom, and in which packaging. It says so, and is asked once more.

    Args:
        endpoint: Where it is.
        packaging: The packaging to begin with.
        turn: What a question that is put once more has to wait for, as the first one's asker did; gives whether it may
            still be put.

    Attributes:
        packaging: What the source takes, as far as is known.
    """

    def __init__(self, endpoint: Endpoint, packaging: Packaging, turn: Turn) -> None:
        self.packaging: Packaging = packaging
        self._endpoint = endpoint
        self._first = packaging
        self._turn = turn

    async def ask(self, ask: Ask) -> None:
        """
        *ask*; once more with a new proof where the source no longer knows who we are, and once in the other packaging
        where it does not take the first. Each time is an attempt, with a MessageID of its own.

        Raises:
            Rad69Error: What the last attempt ended with, or that there is no proof to be had.
            NotAskedAgainError: There was no turn for another attempt.
        """
        packaging, asked = self.packaging, False

        async def attempt(proof: Proof) -> None:
            nonlocal asked
            if asked and not await self._turn():
                raise NotAskedAgainError
            asked = True
            await ask(Attempt(message_id=new_message_id(), packaging=packaging, proof=proof))

        try:
            await self._endpoint.identity.show(attempt)
        except Rad69Error as exc:
            # Others ask at the same time: what they have found meanwhile is not what this one was asked in.
            other = other_packaging(exc, packaging) if packaging == self._first else None
            if other is None:
                raise
            packaging = other
            await self._endpoint.identity.show(attempt)
        self.packaging = packaging


def _up_to_the_manifest(events: Iterator[ReplyEvent]) -> list[ReplyEvent]:
    taken = []
    for event in events:
        taken.append(event)
        if isinstance(event, Manifest):
            break
    return taken


def other_packaging(error: Exception, packaging: Packaging) -> Packaging | None:
    """
    The packaging to try instead, where *error* says that the source does not take this one.

    Text-only stacks answer MTOM with 415; toolkit2 answers simple SOAP with a fault that names MTOM.
    """
    if isinstance(error, HTTPStatusRefused) and error.http_status == 415:
        return "simple" if packaging == "mtom" else "mtom"
    if packaging == "simple" and isinstance(error, SoapFault) and "mtom" in error.reason.lower():
        return "mtom"
    return None
