"""ITI-43 on the wire: what is asked for, what comes in which shape, and what is asked for again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from anyio import create_task_group, current_time

from asyncrad69 import (
    AsyncRad69,
    DocumentReference,
    InstanceNotAvailable,
    InstanceReference,
    RegistryError,
    Retry,
    ServerBusy,
    TruncatedResponse,
    XDSMissingDocumentError,
)
from replies import STACKS, Sent, answer, document, error, inline
from source import Asked, Scripted, ScriptedSource

pytestmark = pytest.mark.anyio

ONE = DocumentReference(repository_unique_id="1.9", document_unique_id="1.2.3^77")
TWO = DocumentReference(repository_unique_id="1.9", document_unique_id="2.25.1")
OTHER = DocumentReference(repository_unique_id="1.8", document_unique_id="2.25.1", home_community_id="urn:oid:1.7")
SOAP = "Content-Type: application/soap+xml; charset=utf-8"


def inlined(asked: Asked, *uids: str, errors: tuple[str, ...] = ()) -> Scripted:
    """An answer in simple SOAP; each document's bytes are its own UID."""
    documents = [document(uid, inline(uid.encode()), mime_type="Text/XML; charset=utf-8") for uid in uids]
    xml = answer(documents, errors=errors, relates_to=asked.message_id)
    return Scripted(headers=(SOAP,), body=xml.encode())


async def test_documents_come_in_the_order_asked() -> None:
    """Whatever the order of the answer, each once, with what the repository calls it; the action is ITI-43's."""
    with ScriptedSource(lambda asked: inlined(asked, *reversed(asked.wanted))) as source:
        async with AsyncRad69(source.url) as rad69:
            documents = await rad69.retrieve_documents([ONE, TWO, ONE])
            (single,) = await rad69.retrieve_documents(TWO)
    assert [each.reference for each in documents] == [ONE, TWO]
    assert [each.data for each in documents] == [b"1.2.3^77", b"2.25.1"]
    assert (single.mime_type, single.reference) == ("text/xml", TWO)
    assert b"urn:ihe:iti:2007:RetrieveDocumentSet<" in source.requests[0].body
    assert "data" not in repr(single)


def attached(asked: Asked, data: bytes, *, stack: str = "cxf") -> Scripted:
    """An MTOM answer: one document, in a part."""
    written = STACKS[stack].write([Sent(asked.wanted[0], data)])
    body = written.body.replace(b"urn:uuid:1<", asked.message_id.encode() + b"<")
    return Scripted(headers=(f"Content-Type: {written.content_type}",), body=body)


async def test_a_community_is_asked_for_where_none_is_named() -> None:
    """home_community_id= of the client's stands in; and documents have no events of instances."""
    events: list[object] = []
    with ScriptedSource(lambda asked: inlined(asked, *asked.wanted)) as source:
        async with AsyncRad69(source.url, home_community_id="urn:oid:1.6", on_event=events.append) as rad69:
            first, second = await rad69.retrieve_documents([ONE, OTHER])
    assert (first.reference.home_community_id, second.reference.home_community_id) == ("urn:oid:1.6", "urn:oid:1.7")
    assert b">urn:oid:1.6<" in source.requests[0].body
    assert events == []


@pytest.mark.parametrize("stack", STACKS)
async def test_a_document_in_a_part_is_byte_exact(stack: str) -> None:
    """As an attachment (MTOM) a document comes as it is, from any stack."""
    data = bytes(range(256)) * 40 + b"\r\n"

    def reply(asked: Asked) -> Scripted:
        return attached(asked, data, stack=stack)

    with ScriptedSource(reply) as source:
        async with AsyncRad69(source.url) as rad69:
            (came,) = await rad69.retrieve_documents(ONE)
    assert came.data == data


async def test_a_request_per_repository_and_community() -> None:
    """No request names two repositories; each goes where the client says it is."""

    def reply(asked: Asked) -> Scripted:
        return inlined(asked, *asked.wanted)

    with ScriptedSource(reply) as near, ScriptedSource(reply) as far:
        async with AsyncRad69(near.url, endpoints={"1.8": far.url}) as rad69:
            documents = await rad69.retrieve_documents([ONE, OTHER, TWO])
    assert [each.reference for each in documents] == [ONE, OTHER, TWO]
    assert [asked.wanted for asked in near.requests] == [["1.2.3^77", "2.25.1"]]
    assert [asked.wanted for asked in far.requests] == [["2.25.1"]]
    assert b"HomeCommunityId>urn:oid:1.7<" in far.requests[0].body


@pytest.mark.parametrize(
    ("errors", "cls", "requests"),
    [
        (("XDSMissingDocument", "2.25.1"), XDSMissingDocumentError, 1),
        (("XDSRepositoryError", None), RegistryError, 1),
        (("XDSRepositoryBusy", "2.25.1"), RegistryError, 3),
        (None, InstanceNotAvailable, 1),
    ],
)
async def test_what_does_not_come_is_an_error(
    errors: tuple[str, str | None] | None, cls: type[Exception], requests: int
) -> None:
    """The repository's own error, or that it left the document out; only what is missing is asked for again."""

    def reply(asked: Asked) -> Scripted:
        said = (error(errors[0], location=errors[1]),) if errors else ()
        return inlined(asked, *(uid for uid in asked.wanted if uid != "2.25.1"), errors=said)

    with ScriptedSource(reply) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=2, wait_initial_s=0.001)) as rad69:
            with pytest.raises(cls) as caught:
                await rad69.retrieve_documents([ONE, TWO])
    assert type(caught.value) is not RegistryError
    assert [asked.wanted for asked in source.requests][1:] == [["2.25.1"]] * (requests - 1)


async def test_a_connection_that_breaks_is_tried_again() -> None:
    """What did not come is asked for once more, with another MessageID."""
    replies = iter((None, "ok"))
    with ScriptedSource(lambda asked: inlined(asked, *asked.wanted) if next(replies) else None) as source:
        async with AsyncRad69(source.url, retry=Retry(wait_initial_s=0.001)) as rad69:
            (came,) = await rad69.retrieve_documents(ONE)
    assert came.data == b"1.2.3^77"
    assert len({asked.message_id for asked in source.requests}) == 2


async def while_others_are_asked(rad69: AsyncRad69, others: AsyncRad69) -> None:
    """Documents and instances of a repository are wanted of *rad69*, until *others* has asked another repository."""
    image = InstanceReference("1.1", "1.2", "1.3", repository_unique_id=OTHER.repository_unique_id)
    async with create_task_group() as tasks:
        tasks.start_soon(rad69.retrieve_documents, OTHER)
        tasks.start_soon(rad69.get_dataset, image)
        for _ in range(3):
            await others.retrieve_documents(ONE)
        tasks.cancel_scope.cancel()


async def test_a_busy_repository_holds_back_all_that_ask_it() -> None:
    """Before its time comes nobody asks it for documents, nor for instances; other repositories are asked meanwhile."""
    busy = Scripted(status="503 Busy", headers=("Retry-After: 3600",))
    with ScriptedSource(lambda _: busy) as far, ScriptedSource(lambda asked: inlined(asked, *asked.wanted)) as near:
        retry = Retry(attempts=1, wait_max_s=3600)
        async with AsyncRad69(near.url, endpoints={"1.8": far.url}, retry=retry) as rad69:
            with pytest.raises(ServerBusy):
                await rad69.retrieve_documents(OTHER)
            await while_others_are_asked(rad69, rad69)
    assert len(far.requests) == 1


async def test_documents_count_among_the_requests_of_a_minute() -> None:
    """After the one request that a minute has, neither documents nor instances are asked for."""
    with ScriptedSource(lambda asked: inlined(asked, *asked.wanted)) as source:
        async with AsyncRad69(source.url, max_requests_per_minute=1) as rad69, AsyncRad69(source.url) as others:
            await rad69.retrieve_documents(TWO)
            await while_others_are_asked(rad69, others)
    assert [asked.wanted for asked in source.requests] == [["2.25.1"], *[["1.2.3^77"]] * 3]


async def test_a_gate_that_is_closed_for_longer_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has waited for it waits again."""
    with ScriptedSource(lambda asked: inlined(asked, *asked.wanted)) as source:
        async with AsyncRad69(source.url) as rad69:
            gate, waits = rad69.services.endpoint("1.9").gate, []
            first, second = (current_time() + wait_s for wait_s in (3600, 7200))
            closings = iter((second, second, -math.inf, -math.inf))

            async def sleep_until(time: float) -> None:
                waits.append(time)
                gate.opens_at = next(closings)

            monkeypatch.setattr("asyncrad69._document_retrieval.sleep_until", sleep_until)
            gate.close_until(first)
            await rad69.retrieve_documents(ONE)
    assert waits[::2] == [first, second]


async def test_a_promised_document_that_does_not_come() -> None:
    """Named in the manifest, and no part brings it: truncated, not missing."""

    def reply(asked: Asked) -> Scripted:
        whole = attached(asked, b"x")
        return replace(whole, body=whole.body.replace(b'href="cid:', b'href="cid:no'))

    with ScriptedSource(reply) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(TruncatedResponse, match="promised"):
                await rad69.retrieve_documents(TWO)


async def test_a_closed_client_says_so() -> None:
    """Before anything is sent."""
    with pytest.raises(RuntimeError, match="not open"):
        await AsyncRad69("http://localhost:9").retrieve_documents(ONE)
