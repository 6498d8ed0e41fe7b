"""ITI-43: documents of a repository; from a manifest to its images; and RAD-75."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrad69 import (
    AsyncRad69,
    DocumentReference,
    InstanceNotAvailable,
    InstanceReference,
    InvalidReferenceError,
    NotAManifestError,
    Rad69,
    RejectionNoteError,
    Retry,
    ServerBusy,
    TruncatedResponse,
    XDSBusyError,
    XDSDocumentUniqueIdError,
    XDSHomeCommunityError,
    XDSUnknownRepositoryIdError,
)
from asyncrad69._errors import registry_error_class
from asyncrad69._options import Options
from asyncrad69._soap_request import ACTIONS
from asyncrad69.testing import SimulatedSource, kos_bytes, write_kos
from replies import EBRS_STATUS, answer, document, error, inline
from source import Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

SOAP = ("Content-Type: application/soap+xml; charset=utf-8",)
ONE, TWO, HOME = "1.9.1", "1.9.2", "urn:oid:1.8"
MANIFEST = DocumentReference(repository_unique_id=ONE, document_unique_id="1.2.3")
INSTANCE = InstanceReference("1.1", "1.2", "1.3", repository_unique_id=ONE, home_community_id=HOME)


@pytest.fixture(scope="module")
def one() -> Iterator[SimulatedSource]:
    """A repository with images and manifests."""
    with SimulatedSource.demo(slices=2, repository_unique_id=ONE) as source:
        yield source


@pytest.fixture(scope="module")
def two() -> Iterator[SimulatedSource]:
    """Another one, of images."""
    with SimulatedSource.demo(slices=2, repository_unique_id=TWO) as source:
        yield source


async def test_from_a_manifest_in_a_repository_to_images_of_two(
    one: SimulatedSource, two: SimulatedSource, tmp_path: Path
) -> None:
    """ITI-43, then the manifest, then RAD-69 at two endpoints: two lines, and every instance is there."""
    listed = (*one.references()[:3], *two.references()[-2:])
    manifest = one.publish(write_kos(listed))
    async with AsyncRad69("http://127.0.0.1:1/", endpoints={ONE: one.url, TWO: two.url}) as rad69:
        references = await rad69.retrieve_manifest(manifest)
        report = await rad69.download(references, tmp_path)
    assert set(references) == set(listed)
    assert report.complete
    assert len(list(tmp_path.rglob("*.dcm"))) == len(listed)
    assert two.requests[-1].repository_unique_ids == (TWO,)


def test_without_await(one: SimulatedSource) -> None:
    """The blocking client has both; a source's own manifest lists what it holds."""
    manifest = one.publish()
    with Rad69(one.url) as rad69:
        (got,) = rad69.retrieve_documents(manifest)
        assert set(rad69.retrieve_manifest(manifest)) == set(one.references())
    assert (got.reference, got.mime_type, got.data[128:132]) == (manifest, "application/dicom", b"DICM")


@pytest.mark.parametrize("packaging", ["mtom", "simple"])
async def test_documents_come_in_the_order_asked_for(one: SimulatedSource, packaging: Any) -> None:
    """Byte for byte, each once, in either packaging."""
    manifests = [write_kos([reference]) for reference in one.references()[:3]]
    asked = [one.publish(each) for each in manifests][::-1]
    async with AsyncRad69(one.url, packaging=packaging) as rad69:
        got = await rad69.retrieve_documents([*asked, asked[0]])
    assert [each.reference for each in got] == asked
    assert [each.data for each in got] == [kos_bytes(each) for each in manifests[::-1]]


async def test_what_a_repository_refuses_is_typed(one: SimulatedSource) -> None:
    """An unknown document, another repository: the registry's error; a rejection note: not taken unasked."""
    elsewhere = DocumentReference(repository_unique_id=TWO, document_unique_id="1.2.3")
    note = one.publish(write_kos(one.references()[:2], title="113001"))
    async with AsyncRad69(one.url) as rad69:
        with pytest.raises(XDSDocumentUniqueIdError):
            await rad69.retrieve_documents([note, MANIFEST])
        with pytest.raises(XDSUnknownRepositoryIdError):
            await rad69.retrieve_documents(elsewhere)
        with pytest.raises(RejectionNoteError):
            await rad69.retrieve_manifest(note)
        assert len(await rad69.retrieve_manifest(note, rejected=True)) == 2


def brought(uid: str, data: bytes) -> str:
    """The answer that brings one document."""
    return answer([document(uid, inline(data))], relates_to=None)


def scripted(body: str) -> ScriptedSource:
    """A repository that answers with one XML document."""
    return ScriptedSource(lambda _: Scripted(headers=SOAP, body=body.encode()))


KOS = kos_bytes(write_kos([InstanceReference("1.1", "1.2", "1.3")]))


@pytest.mark.parametrize(
    ("body", "expected", "words"),
    [
        pytest.param(brought("1.2.3", b"%PDF-1.7"), NotAManifestError, "not a DICOM file", id="pdf"),
        pytest.param(answer(relates_to=None), InstanceNotAvailable, "1.2.3 did not come", id="nothing"),
        pytest.param(brought("1.2.3", b""), TruncatedResponse, "promised", id="empty"),
    ],
)
async def test_what_is_no_manifest(body: str, expected: type[Exception], words: str) -> None:
    """A PDF, nothing, an empty document: said so."""
    with scripted(body) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(expected, match=words):
                await rad69.retrieve_manifest(MANIFEST)


async def test_a_manifests_community_is_its_instances() -> None:
    """Where they name none; and one document that came under an id of its own is the one asked for."""
    with scripted(brought("1.2.3.4", KOS)) as source:
        async with AsyncRad69(source.url) as rad69:
            asked = DocumentReference(repository_unique_id=ONE, document_unique_id="1.2.3", home_community_id=HOME)
            (reference,) = await rad69.retrieve_manifest(asked)
    assert reference == InstanceReference("1.1", "1.2", "1.3", home_community_id=HOME)


async def test_a_busy_repository_is_asked_again() -> None:
    """Once more after 503, with a new MessageID, and no more often than Retry allows."""
    replies = [Scripted(status="503 Busy"), Scripted(headers=SOAP, body=brought("1.2.3", KOS).encode())]
    retry = Retry(attempts=2, wait_initial_s=0)
    with ScriptedSource(lambda _: replies.pop(0)) as source:
        async with AsyncRad69(source.url, retry=retry) as rad69:
            assert len(await rad69.retrieve_manifest(MANIFEST)) == 1
    assert len({each.message_id for each in source.requests}) == 2
    with ScriptedSource(lambda _: Scripted(status="503 Busy")) as source:
        async with AsyncRad69(source.url, retry=retry) as rad69:
            with pytest.raises(ServerBusy):
                await rad69.retrieve_manifest(MANIFEST)
    assert len(source.requests) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"repository_unique_id": "urn:oid:1.2", "document_unique_id": "1.2"},
        {"repository_unique_id": "1.2", "document_unique_id": ""},
        {"repository_unique_id": "1.2", "document_unique_id": "1.2^a b"},
        {"repository_unique_id": "1.2", "document_unique_id": "1" * 129},
        {"repository_unique_id": "1.2", "document_unique_id": "1.2", "home_community_id": "1.2"},
    ],
)
def test_a_malformed_document_reference(fields: dict[str, str]) -> None:
    """Said when it is made."""
    with pytest.raises(InvalidReferenceError):
        DocumentReference(**fields)


@pytest.mark.parametrize(("documents", "expected"), [([], InvalidReferenceError), (["1.2.3"], TypeError)])
async def test_what_is_no_document_reference(documents: Any, expected: type[Exception]) -> None:
    """Nothing, or something else: said before anything is sent."""
    async with AsyncRad69("http://127.0.0.1:1/") as rad69:
        with pytest.raises(expected):
            await rad69.retrieve_documents(documents)


# --- RAD-75


async def test_rad_75_has_its_action_everywhere(one: SimulatedSource) -> None:
    """In the header, in the Content-Type, and the community in the request; what comes is as for RAD-69."""
    reference = one.references()[0]
    async with AsyncRad69(one.url, transaction="RAD-75", home_community_id=HOME) as rad69:
        assert (await rad69.get_dataset(reference)).SOPInstanceUID == reference.sop_instance_uid
    action = "urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSet"
    assert one.requests[-1].action == action
    assert f'action="{action}"' in one.requests[-1].content_type


async def test_the_simulated_gateway_wants_a_home_community(
    one: SimulatedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a strict responding gateway does: RAD-69's request under RAD-75's action is refused."""
    monkeypatch.setitem(ACTIONS, "RAD-69", ACTIONS["RAD-75"])
    async with AsyncRad69(one.url) as rad69:
        with pytest.raises(XDSHomeCommunityError):
            await rad69.get_dataset(one.references()[0])


async def test_rad_75_needs_a_home_community() -> None:
    """Said before anything is sent, with the way out."""
    async with AsyncRad69("http://127.0.0.1:1/", transaction="RAD-75", repository_unique_id=ONE) as rad69:
        with pytest.raises(InvalidReferenceError, match="home_community_id="):
            rad69.retrieve([("1.1", "1.2", "1.3")])


def test_transactions_are_two() -> None:
    """Another one is a mistake."""
    with pytest.raises(ValueError, match="transaction is one of"):
        Options(transaction="RAD-68")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "cls", "retryable"),
    [
        ("XDSUnknownCommunity", XDSHomeCommunityError, False),
        ("XDSMissingHomeCommunityId", XDSHomeCommunityError, False),
        ("XDSUnavailableCommunity", XDSBusyError, True),
    ],
)
async def test_a_gateways_errors_are_typed(code: str, cls: type[Exception], retryable: bool) -> None:
    """Unknown and missing communities are final; one that cannot be reached now is asked again."""
    assert registry_error_class(code).retryable is retryable
    body = answer(errors=[error(code)], status=EBRS_STATUS + "Failure", relates_to=None)
    retry = Retry(attempts=2, wait_initial_s=0)
    with scripted(body) as source:
        async with AsyncRad69(source.url, transaction="RAD-75", retry=retry) as rad69:
            with pytest.raises(cls):
                await rad69.get_dataset(INSTANCE)
    assert len(source.requests) == (2 if retryable else 1)
