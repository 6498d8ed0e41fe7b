"""ITI-43: documents of repositories, and the manifests among them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from asyncrad69 import (
    AsyncRad69,
    DocumentReference,
    InstanceReference,
    InvalidReferenceError,
    Rad69,
    RegistryError,
    Retry,
    TruncatedResponse,
    XDSMissingDocumentError,
)
from replies import STACKS, Sent, answer, document, error, inline
from source import Asked, Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ONE, TWO = DocumentReference("1.9", "1.2.3^77"), DocumentReference("1.9", "2.25.1")
OTHER = DocumentReference("1.8", "2.25.1", home_community_id="urn:oid:1.7")
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
            assert await rad69.retrieve_documents([]) == ()
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
        (None, XDSMissingDocumentError, 1),
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


async def test_a_promised_document_that_does_not_come() -> None:
    """Named in the manifest, and no part brings it: truncated, not missing."""

    def reply(asked: Asked) -> Scripted:
        whole = attached(asked, b"x")
        return replace(whole, body=whole.body.replace(b'href="cid:', b'href="cid:no'))

    with ScriptedSource(reply) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(TruncatedResponse, match="promised"):
                await rad69.retrieve_documents(TWO)


@pytest.mark.parametrize(
    ("repository", "uid", "home", "word"),
    [
        ("", "1.2", None, "repository_unique_id: is missing"),
        ("1.9", "", None, "document_unique_id"),
        ("1.9", "1 2", None, "document_unique_id"),
        ("1.9", "1" * 129, None, "document_unique_id"),
        ("1.9", "1.2", "1.7", "home_community_id"),
    ],
)
def test_a_malformed_reference_is_refused(repository: str, uid: str, home: str | None, word: str) -> None:
    """Before anything is sent, with the name of what is wrong."""
    with pytest.raises(InvalidReferenceError, match=word):
        DocumentReference(repository, uid, home)


# --- manifests


def manifest(*, title: str = "113030", sop_class: str = "1.2.840.10008.5.1.4.1.1.88.59") -> bytes:
    """A KOS of two repositories, one of which is in a community of its own."""
    series = []
    for number, repository in enumerate(("1.9.1", "1.9.2")):
        instance, one = Dataset(), Dataset()
        instance.ReferencedSOPInstanceUID = f"1.1.{number}.1"
        one.SeriesInstanceUID, one.RetrieveLocationUID, one.ReferencedSOPSequence = (
            f"1.1.{number}",
            repository,
            [instance],
        )
        series.append(one)
    series[1].HomeCommunityID = "1.6"
    study, code, kos = Dataset(), Dataset(), Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.1", series
    code.CodeValue, code.CodingSchemeDesignator = title, "DCM"
    kos.SOPClassUID, kos.SOPInstanceUID = sop_class, "1.99"
    kos.ConceptNameCodeSequence, kos.CurrentRequestedProcedureEvidenceSequence = [code], [study]
    kos.file_meta = FileMetaDataset()
    kos.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    dcmwrite(out, kos, enforce_file_format=True)
    return out.getvalue()


LISTED = (
    InstanceReference("1.1", "1.1.0", "1.1.0.1", repository_unique_id="1.9.1", home_community_id="urn:oid:1.7"),
    InstanceReference("1.1", "1.1.1", "1.1.1.1", repository_unique_id="1.9.2", home_community_id="urn:oid:1.6"),
)


def holding(data: bytes) -> Callable[[Asked], Scripted]:
    """A repository whose every document is *data*."""

    def reply(asked: Asked) -> Scripted:
        xml = answer([document(uid, inline(data)) for uid in asked.wanted], relates_to=asked.message_id)
        return Scripted(headers=(SOAP,), body=xml.encode())

    return reply


async def test_a_manifest_becomes_references() -> None:
    """With the repository of each series; the manifest's community, where the series names no other."""
    with ScriptedSource(holding(manifest())) as source:
        async with AsyncRad69(source.url) as rad69:
            assert await rad69.retrieve_manifest(OTHER) == LISTED


def test_without_await() -> None:
    """The same from the blocking client."""
    with ScriptedSource(holding(manifest())) as source, Rad69(source.url) as rad69:
        assert rad69.retrieve_manifest(OTHER) == LISTED
        assert rad69.retrieve_documents(ONE)[0].data == manifest()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        pytest.param(b"<html>", "not a DICOM file", id="html"),
        pytest.param(manifest(sop_class="1.2.840.10008.5.1.4.1.1.88.11"), "not a manifest", id="report"),
        *(
            pytest.param(manifest(title=code), "a rejection note", id=code)
            for code in ("113001", "113037", "113038", "113039")
        ),
    ],
)
async def test_what_is_no_manifest_is_said_so(data: bytes, word: str) -> None:
    """A login page, a report, and a note that lists what was withdrawn."""
    with ScriptedSource(holding(data)) as source:
        async with AsyncRad69(source.url) as rad69:
            with pytest.raises(InvalidReferenceError, match=word):
                await rad69.retrieve_manifest(ONE)


async def test_a_closed_client_says_so() -> None:
    """Before anything is sent."""
    with pytest.raises(RuntimeError, match="not open"):
        await AsyncRad69("http://localhost:9").retrieve_documents(ONE)
