"""One exchange: what is sent, what a reply's bytes become, and how each way to end is told apart."""

from __future__ import annotations

import gzip
import threading
import zlib
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from asyncrad69 import (
    AsyncRad69,
    AuthenticationError,
    HTTPStatusRefused,
    InstanceReference,
    Limits,
    NotARad69Response,
    ProtocolError,
    Rad69Error,
    RequestTooLarge,
    Retry,
    ServerBusy,
    SoapError,
    SoapFault,
    TruncatedResponse,
)
from asyncrad69._errors import MultipartError
from asyncrad69._exchange import other_packaging
from asyncrad69._soap import Manifest, read_manifest
from asyncrad69.testing import SimulatedSource
from replies import STACKS, Sent, answer, document, envelope, fault_12, include, inline
from source import Asked, Scripted, ScriptedSource, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69._options import Packaging

SOAP = ("Content-Type: application/soap+xml; charset=utf-8",)
ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def sent() -> Iterator[Sent]:
    """A whole instance."""
    with SimulatedSource.demo(slices=1) as source:
        uid = source.references()[0].sop_instance_uid
        yield Sent(uid, source.data(uid))


@pytest.fixture(scope="module")
def reference(sent: Sent) -> InstanceReference:
    """Its reference. The study and series are not looked at here."""
    return InstanceReference("1.2.3", "1.2.3.1", sent.uid, repository_unique_id="1.9")


async def asked_for(url: str, reference: InstanceReference, **options: Any) -> bytes | Rad69Error:
    """The instance's bytes, or why its row has none."""
    options = {"retry": ONCE, "identity": "instance", "on_failure": "report", **options}
    async with AsyncRad69(url, **options) as rad69, rad69.retrieve([reference]) as retrieval:
        try:
            came = [each.data async for each in retrieval]
        except Rad69Error as exc:
            return exc
    if came:
        return came[0]
    error = retrieval.report.rows[0].error
    assert error is not None
    return error


def multipart(stack: str, sent: Sent, asked: Asked) -> Scripted:
    """*sent* as one of the known stacks writes it, in answer to *asked*."""
    written = STACKS[stack].write([sent])
    body = written.body.replace(b"<a:RelatesTo>urn:uuid:1<", f"<a:RelatesTo>{asked.message_id}<".encode())
    return Scripted(headers=(f"Content-Type: {written.content_type}",), body=body)


# --- what is sent --------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("packaging", "content_type"), [("mtom", "multipart/related;"), ("simple", "application/soap+xml;")]
)
async def test_the_request_on_the_wire(
    sent: Sent, reference: InstanceReference, packaging: Packaging, content_type: str
) -> None:
    """POST, the packaging's Content-Type, no compression asked for, our name, and To from the option."""
    with ScriptedSource(lambda asked: multipart("cxf", sent, asked)) as source:
        await asked_for(source.url, reference, packaging=packaging, to="https://behind.example/rad69")
    (asked,) = source.requests
    assert asked.head.startswith("POST /rad69 HTTP/1.1\r\n")
    assert asked.header("Content-Type").startswith(content_type)
    assert asked.header("Accept-Encoding") == "identity"
    assert asked.header("User-Agent").startswith("asyncrad69/")
    assert b">https://behind.example/rad69<" in asked.body
    assert asked.wanted == [sent.uid]


@pytest.mark.anyio
async def test_a_long_envelope_is_whole(sent: Sent, reference: InstanceReference) -> None:
    """One for so many instances that it is written in a thread asks for each of them, in order."""
    many = [replace(reference, sop_instance_uid=f"1.2.{number}") for number in range(1000)]
    with ScriptedSource(lambda asked: Scripted(headers=SOAP, body=answer(relates_to=asked.message_id).encode())) as it:
        async with AsyncRad69(it.url, retry=ONCE, on_failure="report") as rad69:
            assert [each async for each in rad69.instances(many)] == []
    assert it.requests[0].wanted == [each.sop_instance_uid for each in many]


@pytest.mark.anyio
@pytest.mark.parametrize(("many", "elsewhere"), [(1, False), (301, True)])
async def test_a_long_manifest_is_read_off_the_event_loop(
    reference: InstanceReference, monkeypatch: pytest.MonkeyPatch, many: int, elsewhere: bool
) -> None:
    """Also where it comes in one block with its end, so that nothing but the number asked for tells of it."""
    threads: list[int] = []

    def read(*args: Any, **options: Any) -> Manifest:
        threads.append(threading.get_ident())
        return read_manifest(*args, **options)

    monkeypatch.setattr("asyncrad69._reply.read_manifest", read)
    asked = [replace(reference, sop_instance_uid=f"1.2.{number}") for number in range(many)]
    with ScriptedSource(no) as source:
        async with AsyncRad69(source.url, retry=ONCE, on_failure="report") as rad69:
            assert [each async for each in rad69.instances(asked)] == []
    assert (threads[0] != threading.get_ident()) is elsewhere


# --- what comes ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("stack", STACKS)
async def test_every_stack_s_reply_over_http(sent: Sent, reference: InstanceReference, stack: str) -> None:
    """The bytes of the instance are the ones that were sent, however the reply is written."""
    with ScriptedSource(lambda asked: multipart(stack, sent, asked)) as source:
        assert await asked_for(source.url, reference) == sent.data


@pytest.mark.anyio
async def test_a_reply_without_mime(sent: Sent, reference: InstanceReference) -> None:
    """One XML document with the instance inside it."""

    def script(asked: Asked) -> Scripted:
        documents = [document(sent.uid, inline(sent.data))]
        return Scripted(headers=SOAP, body=answer(documents, relates_to=asked.message_id).encode())

    with ScriptedSource(script) as source:
        assert await asked_for(source.url, reference) == sent.data


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
async def test_a_compressed_body(sent: Sent, reference: InstanceReference, encoding: str) -> None:
    """A proxy that compresses unasked is read; the report counts the bytes as they came."""
    compress = zlib.compress if encoding == "deflate" else gzip.compress

    def script(asked: Asked) -> Scripted:
        plain = multipart("metro", sent, asked)
        return Scripted(headers=(*plain.headers, f"Content-Encoding: {encoding}"), body=compress(plain.body))

    with ScriptedSource(script) as source:
        assert await asked_for(source.url, reference) == sent.data


@pytest.mark.anyio
async def test_a_compressed_body_that_is_cut(sent: Sent, reference: InstanceReference) -> None:
    """HTTP ends well, the compression does not: what is missing is an error."""

    def script(asked: Asked) -> Scripted:
        plain = multipart("metro", sent, asked)
        return Scripted(
            headers=(*plain.headers, "Content-Encoding: gzip"), body=gzip.compress(plain.body[: len(plain.body) // 2])
        )

    with ScriptedSource(script) as source:
        assert isinstance(await asked_for(source.url, reference), TruncatedResponse)


@pytest.mark.anyio
async def test_what_follows_the_end_is_not_read(sent: Sent, reference: InstanceReference) -> None:
    """An epilogue, even one shorter than was announced, does not spoil a reply that is complete."""

    def script(asked: Asked) -> Scripted:
        whole = multipart("axis2", sent, asked)
        return replace(whole, body=whole.body + b"epilogue", length=len(whole.body) + 1000)

    with ScriptedSource(script) as source:
        assert await asked_for(source.url, reference) == sent.data


@pytest.mark.anyio
@pytest.mark.parametrize("cut", [1, 40, 4000])
async def test_a_reply_that_ends_early(sent: Sent, reference: InstanceReference, cut: int) -> None:
    """A body that HTTP calls whole and MIME does not is truncated."""

    def script(asked: Asked) -> Scripted:
        whole = multipart("cxf", sent, asked)
        return replace(whole, body=whole.body[:-cut])

    with ScriptedSource(script) as source:
        assert isinstance(await asked_for(source.url, reference), TruncatedResponse)


@pytest.mark.anyio
@pytest.mark.parametrize("relates_to", ["urn:uuid:another", None])
async def test_a_reply_names_the_request_it_answers(
    sent: Sent, reference: InstanceReference, relates_to: str | None
) -> None:
    """Another request's answer is refused before any instance of it is delivered; silence about it is tolerated."""
    reply = answer([document(sent.uid, inline(sent.data))], relates_to=relates_to)
    with ScriptedSource(lambda _: Scripted(headers=SOAP, body=reply.encode())) as source:
        result = await asked_for(source.url, reference)
    assert isinstance(result, SoapError) if relates_to else result == sent.data


@pytest.mark.anyio
async def test_another_request_s_refusals_are_not_ours(sent: Sent, reference: InstanceReference) -> None:
    """What a mixed-up answer says of an instance is not believed; the instance is asked for again, and comes."""
    replies = count()

    def script(asked: Asked) -> Scripted:
        if next(replies):
            return multipart("cxf", sent, asked)
        refusal = no(asked)
        return replace(refusal, body=refusal.body.replace(asked.message_id.encode(), b"urn:uuid:another"))

    with ScriptedSource(script) as source:
        assert await asked_for(source.url, reference, retry=Retry(attempts=2, wait_initial_s=0)) == sent.data


@pytest.mark.anyio
async def test_a_promise_without_a_part(sent: Sent, reference: InstanceReference) -> None:
    """The manifest names a part that never came: the instance is missing, and its error says so."""
    stack = STACKS["cxf"]

    def script(asked: Asked) -> Scripted:
        root = answer([document(sent.uid, include("cid:nowhere"))], relates_to=asked.message_id)
        written = stack.write(root=root)
        return Scripted(headers=(f"Content-Type: {written.content_type}",), body=written.body)

    with ScriptedSource(script) as source:
        error = await asked_for(source.url, reference)
    assert isinstance(error, TruncatedResponse)
    assert error.references == (reference,)


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [{"max_part": 1000}, {"max_root": 100}, {"max_parts": 1}, {"max_headers": 10}])
async def test_limits_hold(sent: Sent, reference: InstanceReference, limit: dict[str, int]) -> None:
    """What is larger than a limit is not read to its end."""
    with ScriptedSource(lambda asked: multipart("metro", sent, asked)) as source:
        error = await asked_for(source.url, reference, limits=Limits(**limit))
    assert isinstance(error, ProtocolError | MultipartError)


# --- how it ends ---------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(Scripted(status="401 Unauthorized"), AuthenticationError, id="401"),
        pytest.param(Scripted(status="404 Not Found"), HTTPStatusRefused, id="404"),
        pytest.param(Scripted(status="413 Content Too Large"), RequestTooLarge, id="413"),
        pytest.param(Scripted(status="500 Error"), HTTPStatusRefused, id="500 without a fault"),
        pytest.param(Scripted(status="503 Busy"), ServerBusy, id="503"),
        pytest.param(
            Scripted(status="500 Error", headers=SOAP, body=fault_12("Receiver").encode()), SoapFault, id="500 with one"
        ),
        pytest.param(Scripted(headers=SOAP, body=fault_12().encode()), SoapFault, id="200 with a fault"),
        pytest.param(Scripted(headers=SOAP, body=envelope("<other/>").encode()), SoapError, id="another answer"),
        pytest.param(Scripted(headers=SOAP, body=b"<a"), SoapError, id="no XML"),
        pytest.param(Scripted(headers=("Content-Type: text/html",), body=b"<html>"), NotARad69Response, id="a page"),
        pytest.param(Scripted(body=b"x"), NotARad69Response, id="no Content-Type"),
        pytest.param(Scripted(headers=("Content-Type: multipart/related",)), MultipartError, id="no boundary"),
    ],
)
async def test_every_end_has_its_error(reference: InstanceReference, reply: Scripted, error: type[Rad69Error]) -> None:
    """The class of the error says what the source did."""
    with ScriptedSource(lambda _: reply) as source:
        result = await asked_for(source.url, reference)
    assert isinstance(result, error)


@pytest.mark.parametrize(
    ("error", "packaging", "other"),
    [
        (HTTPStatusRefused("x", http_status=415), "mtom", "simple"),
        (HTTPStatusRefused("x", http_status=415), "simple", "mtom"),
        (HTTPStatusRefused("x", http_status=400), "mtom", None),
        (KeyError("415"), "mtom", None),
    ],
)
def test_when_the_other_packaging_is_tried(error: Exception, packaging: Packaging, other: Packaging | None) -> None:
    """415 says that the source does not take this one; nothing else over plain HTTP does."""
    assert other_packaging(error, packaging) == other
