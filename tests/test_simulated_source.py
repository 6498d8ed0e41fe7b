"""The simulated source: strict about requests, right in its answers, and gone when it is stopped."""

from __future__ import annotations

import re
import socket
import sys
import threading
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from dicomtrolley.rad69 import Rad69 as OtherRad69
from lxml import etree
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

from asyncrad69 import (
    InstanceReference,
    InvalidReferenceError,
    Rad69,
    TransferSyntaxRefused,
    XDSDocumentUniqueIdError,
    XDSMissingDocumentError,
    XDSUnknownRepositoryIdError,
)
from asyncrad69._options import Options
from asyncrad69._soap_request import ACTIONS, RetrieveImagingDocumentSet, mtom_body, new_message_id, simple_body
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = Path(__file__).parents[1].parent / "shared" / "spec" / "schema"


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """The demo archive with three slices."""
    with SimulatedSource.demo(slices=3) as source:
        yield source


def envelope(source: SimulatedSource, *references: InstanceReference) -> str:
    """A request that is right, for *references* or the first two instances."""
    wanted = references or source.references()[:2]
    question = RetrieveImagingDocumentSet(references=wanted, transfer_syntaxes=Options().transfer_syntaxes)
    return question.xml(to=source.url, message_id=new_message_id()).decode()


def posted(source: SimulatedSource, text: str, *, content_type: str = "", mtom: bool = False) -> httpx.Response:
    """The answer to a request that may be wrong."""
    right, body = (mtom_body if mtom else simple_body)(text.encode(), ACTIONS["RAD-69"])
    with httpx.Client(trust_env=False) as client:
        return client.post(source.url, content=body, headers={"Content-Type": content_type or right})


def dataset(number: int) -> Dataset:
    """A small instance."""
    each = Dataset()
    each.file_meta = FileMetaDataset()
    each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    each.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    each.StudyInstanceUID, each.SeriesInstanceUID, each.SOPInstanceUID = "1.2.3", "1.2.3.4", f"1.2.3.4.{number}"
    return each


# --- what it answers


@pytest.mark.parametrize("mtom", [True, False], ids=["mtom", "simple"])
def test_what_is_sent_is_what_is_kept(source: SimulatedSource, mtom: bool) -> None:
    """Every instance byte for byte, in either packaging."""
    with Rad69(source.url, packaging="mtom" if mtom else "simple") as rad69:
        came = {each.reference: each.data for each in rad69.instances(source.references())}
    assert came == {each: source.data(each.sop_instance_uid) for each in source.references()}
    assert sum(map(len, came.values())) == source.total_bytes


def test_another_client_reads_it(source: SimulatedSource) -> None:
    """dicomtrolley's reader gets the same datasets: source and client do not only understand each other."""
    wanted = source.references()[-3:]
    with requests.Session() as session:
        session.trust_env = False
        # Its own request names another repository than ours; its reader is what is of interest here.
        content_type, body = mtom_body(envelope(source, *wanted).encode(), ACTIONS["RAD-69"])
        answer = session.post(source.url, data=body, headers={"Content-Type": content_type}, stream=True)
        other: Any = OtherRad69
        datasets = list(other(session=session, url=source.url).parse_rad69_response(answer))
    assert {str(each.SOPInstanceUID) for each in datasets} == {each.sop_instance_uid for each in wanted}


@pytest.mark.skipif(not SCHEMA.is_dir(), reason="needs the schemas in ../shared/spec/schema")
def test_the_root_part_is_valid(source: SimulatedSource) -> None:
    """The answer, PartialSuccess and errors included, is valid against the published schema."""
    missing = InstanceReference("1.2", "1.2.3", "1.2.3.9", repository_unique_id="1.2.3.4")
    answer = posted(source, envelope(source, source.references()[0], missing))
    root = re.search(rb"<s:Envelope.*?</s:Envelope>", answer.content, re.DOTALL)
    assert root is not None
    body = etree.fromstring(root[0]).find("{http://www.w3.org/2003/05/soap-envelope}Body")
    assert body is not None
    for include in list(body.iter("{http://www.w3.org/2004/08/xop/include}Include")):
        parent = include.getparent()
        assert parent is not None
        parent.remove(include)  # XOP 1.0, 3: it stands for the text that the schema describes
    schema = next(path for path in SCHEMA.rglob("*.xsd") if "RetrieveDocumentSetResponse" in path.read_text())
    etree.XMLSchema(etree.parse(schema)).assertValid(body[0])


def test_what_it_does_not_have(source: SimulatedSource) -> None:
    """Each kind of refusal with its code; what can be sent is."""
    first, second = source.references()[:2]
    study, series, uid = first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid
    cases = [
        (InstanceReference(study, series, "1.9", repository_unique_id="1.2.3.4"), XDSMissingDocumentError),
        (InstanceReference("1.9", series, uid, repository_unique_id="1.2.3.4"), XDSDocumentUniqueIdError),
        (InstanceReference(study, "1.9", uid, repository_unique_id="1.2.3.4"), XDSDocumentUniqueIdError),
        (InstanceReference(study, series, uid, repository_unique_id="1.9"), XDSUnknownRepositoryIdError),
    ]
    with Rad69(source.url, instances_per_request=0) as rad69:
        for reference, error in cases:
            with pytest.raises(error):
                rad69.get_dataset(reference)
        statuses = [request.status for request in source.requests]
        with rad69.retrieve([second, cases[0][0]], on_failure="report") as retrieval:
            assert [each.reference for each in retrieval] == [second]
        assert (statuses[-1], source.requests[-1].status) == ("Failure", "PartialSuccess")
        with pytest.raises(TransferSyntaxRefused):
            rad69.get_dataset(source.references()[-1], transfer_syntaxes=(JPEGLosslessSV1,))


OTHER = "<iherad:TransferSyntaxUID>1.2.9</iherad:TransferSyntaxUID>"
BLANK = "<iherad:TransferSyntaxUID> </iherad:TransferSyntaxUID>"


@pytest.mark.parametrize(
    ("old", "new", "code", "whole"),
    [
        pytest.param(r"(<ihe:RepositoryUniqueId>)[^<]*", r"\g<1>1.9", "XDSUnknownRepositoryId", True, id="repository"),
        pytest.param(r"(<ihe:DocumentUniqueId>)[^<]*", r"\g<1>1.9", "XDSMissingDocument", False, id="instance"),
        pytest.param(r'(studyInstanceUID=)"[^"]*', r'\g<1>"1.9', "XDSDocumentUniqueIdError", False, id="study"),
        pytest.param(r'(seriesInstanceUID=)"[^"]*', r'\g<1>"1.9', "XDSDocumentUniqueIdError", False, id="series"),
        pytest.param(r'(studyInstanceUID=)"[^"]*', r'\g<1>"', "XDSIRequestError", True, id="blank study"),
        pytest.param(r'(seriesInstanceUID=)"[^"]*', r'\g<1>" ', "XDSIRequestError", True, id="blank series"),
        pytest.param(r"(<ihe:DocumentUniqueId>)[^<]*", r"\g<1>", "XDSIRequestError", True, id="blank document"),
        pytest.param(r"<iherad:TransferSyntaxUID>.*</iherad:TransferSyntaxUID>", OTHER, "urn:dicom:wado:0007", False),
        pytest.param(r"<iherad:TransferSyntaxUID>.*</iherad:TransferSyntaxUID>", BLANK, "XDSRepositoryError", True),
    ],
)
def test_each_refusal_has_its_code(source: SimulatedSource, old: str, new: str, code: str, whole: bool) -> None:
    """A Failure whose error is located at the instance, or nowhere if it concerns the whole request."""
    wanted = source.references()[0]
    text, count = re.subn(old, new, envelope(source, wanted), flags=re.DOTALL)
    assert count
    answer = posted(source, text)
    assert answer.status_code == 200
    assert source.requests[-1].status == "Failure"
    error = re.search(r"<rs:RegistryError [^>]*>", answer.text)
    assert error is not None
    assert f'errorCode="{code}"' in error[0]
    assert ("location=" in error[0]) is not whole


# --- what it refuses


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        (r"<a:Action.*?</a:Action>", "", 400, "wsa:Action is missing"),
        (r"<a:MessageID>.*?</a:MessageID>", "", 400, "wsa:MessageID is missing"),
        (r"<a:MessageID>.*?</a:MessageID>", "<a:MessageID/>", 400, "wsa:MessageID"),
        (r"RetrieveImagingDocumentSet</a:Action>", "Other</a:Action>", 400, "wsa:Action is not"),
        (r"http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/", 500, "SOAP 1.2"),
        (
            r"<iherad:TransferSyntaxUID>.*?</iherad:TransferSyntaxUIDList>",
            "</iherad:TransferSyntaxUIDList>",
            400,
            "empty",
        ),
        (r"<ihe:DocumentRequest>.*</ihe:DocumentRequest>", "", 400, "holds no DocumentRequest"),
        (r"<ihe:DocumentUniqueId>[^<]*", "<ihe:DocumentUniqueId>1.2.x", 400, "UID"),
        (r"<s:Body>", "<s:Body>text", 400, "text beside"),
        (r"iherad:RetrieveImagingDocumentSetRequest", "iherad:Other", 400, "does not hold"),
        (r"<s:Body>.*</s:Body>", "<s:Body/>", 400, "exactly one element"),
        (r"</s:Body>", "", 400, "not well-formed"),
        (r"<s:Envelope", "<!DOCTYPE x><s:Envelope", 400, "document type declaration"),
    ],
)
def test_a_rule_that_is_broken_is_named(source: SimulatedSource, old: str, new: str, status: int, reason: str) -> None:
    """A SOAP fault whose reason says which, for whoever writes the client."""
    text, count = re.subn(old, new, envelope(source), flags=re.DOTALL)
    assert count
    answer = posted(source, text)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (status, "application/soap+xml")
    assert reason in answer.text
    assert source.requests[-1].status == "Fault"


def test_a_message_id_is_good_for_one_request(source: SimulatedSource) -> None:
    """A repeated one is answered as CXF does."""
    text = envelope(source)
    assert posted(source, text).status_code == 200
    assert "DuplicateMessageID" in posted(source, text).text


@pytest.mark.parametrize("content_type", ["text/xml", 'multipart/related; type="text/xml"; boundary=x', "nonsense"])
def test_other_packaging_is_refused(source: SimulatedSource, content_type: str) -> None:
    """Neither MTOM nor SOAP 1.2: HTTP says so."""
    assert posted(source, envelope(source), content_type=content_type).status_code == 415
    assert source.requests[-1].status == "Refused"


def test_other_paths_and_methods(source: SimulatedSource) -> None:
    """The endpoint is one path, and takes POST."""
    with httpx.Client(trust_env=False) as client:
        assert client.get(source.url).status_code == 405
        assert client.post(source.url + "/other").status_code == 404


# --- what it is made of


def test_files_folders_and_datasets(tmp_path: Path) -> None:
    """Mixed as they come; what is not DICOM in a folder is passed over, and the first of two with one UID counts."""
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    dataset(1).save_as(tmp_path / "folder" / "deep" / "1.dcm", enforce_file_format=True)
    dataset(2).save_as(tmp_path / "2.dcm", enforce_file_format=True)
    (tmp_path / "folder" / "notes.txt").write_text("no DICOM")
    source = SimulatedSource([tmp_path / "folder", str(tmp_path / "2.dcm"), dataset(2), dataset(3)])
    assert [each.sop_instance_uid for each in source.references()] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    assert source.data("1.2.3.4.2") == (tmp_path / "2.dcm").read_bytes()
    with source, Rad69(source.url) as rad69:
        assert len(list(rad69.datasets(source.references()))) == 3
    with pytest.raises(KeyError):
        source.data("1.9")


def test_what_it_cannot_be_made_of(tmp_path: Path) -> None:
    """Said when it is made, not when it is asked."""
    (tmp_path / "notes.txt").write_text("no DICOM")
    nameless = dataset(1)
    del nameless.StudyInstanceUID
    with pytest.raises(FileNotFoundError):
        SimulatedSource(tmp_path / "nothing")
    with pytest.raises(InvalidDicomError):
        SimulatedSource([tmp_path / "notes.txt"])
    with pytest.raises(InvalidReferenceError):
        SimulatedSource([nameless])
    with pytest.raises(InvalidReferenceError):
        SimulatedSource([dataset(1)], repository_unique_id="mine")
    with pytest.raises(ValueError, match="read_size"):
        SimulatedSource([dataset(1)], read_size=0)


def test_the_demo_is_the_same_each_time() -> None:
    """The same UIDs and bytes in another process; slices differ from each other."""
    one, two = SimulatedSource.demo(slices=2), SimulatedSource.demo(slices=2)
    assert one.references() == two.references()
    first, second = (one.data(each.sop_instance_uid) for each in one.references()[-2:])
    assert first == two.data(two.references()[-2].sop_instance_uid)
    assert first != second


# --- its life


def test_the_log(source: SimulatedSource) -> None:
    """What a test may want to know of a request, and no credentials in its repr."""
    with Rad69(source.url, auth=("user", "hidden-password")) as rad69:
        rad69.get_dataset(source.references()[0])
    request = source.requests[-1]
    assert (request.status, request.http_status, request.packaging) == ("Success", 200, "mtom")
    assert request.sop_instance_uids == (source.references()[0].sop_instance_uid,)
    assert request.repository_unique_ids == ("1.2.3.4",)
    assert request.headers["authorization"].startswith("Basic ")
    assert "Basic" not in repr(request)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_async_and_again() -> None:
    """An async context manager; started again, it has a URL again and keeps its log."""
    source = SimulatedSource([dataset(1)])
    with pytest.raises(RuntimeError, match="no URL before it is started"):
        _ = source.url
    for times in (1, 2):
        async with source:
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(source.url)).status_code == 405
            with pytest.raises(RuntimeError, match="running already"):
                source.start()
        assert times
    source.stop()


def test_stopped_it_leaves_nothing() -> None:
    """With a client that has connected and says nothing, and one in the middle of an answer."""
    before = set(threading.enumerate())
    with SimulatedSource.demo(slices=4) as source:
        host, port = re.findall(r"//([\d.]+):(\d+)", source.url)[0]
        silent = socket.create_connection((host, int(port)))
        client = httpx.Client(trust_env=False)
        content_type, body = mtom_body(envelope(source, *source.references()).encode(), ACTIONS["RAD-69"])
        request = client.build_request("POST", source.url, content=body, headers={"Content-Type": content_type})
        answer = client.send(request, stream=True)
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    answer.close()
    client.close()
    silent.close()


def test_who_connects_as_it_is_stopped_is_cut_too() -> None:
    """However far a connection had come: its client is told, and does not wait for an answer."""
    for _ in range(8):
        source = SimulatedSource.demo()
        source.start()
        host, port = re.findall(r"//([\d.]+):(\d+)", source.url)[0]
        connected: list[socket.socket] = []
        some = threading.Event()

        def connect(address: tuple[str, int], connected: list[socket.socket], some: threading.Event) -> None:
            with suppress(ConnectionError):
                for _ in range(300):
                    connected.append(socket.create_connection(address, timeout=10))
                    some.set()

        client = threading.Thread(target=connect, args=((host, int(port)), connected, some))
        client.start()
        some.wait()
        source.stop()
        client.join()
        for each in connected:
            with each, suppress(ConnectionError):
                assert each.recv(1) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_folder_is_streamed(tmp_path: Path) -> None:
    """Files are sent in pieces: 200 MB pass through without being held."""
    import resource  # noqa: PLC0415 - not on Windows

    for number in range(4):
        each = dataset(number)
        each.add_new(0x00091001, "UN", bytes(50_000_000))
        each.add_new(0x00090010, "LO", "TEST")
        each.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    del each
    with SimulatedSource(tmp_path) as source:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        content_type, body = mtom_body(envelope(source, *source.references()).encode(), ACTIONS["RAD-69"])
        with (
            httpx.Client(trust_env=False) as client,
            client.stream("POST", source.url, content=body, headers={"Content-Type": content_type}) as answer,
        ):
            size = sum(map(len, answer.iter_raw()))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert size > 200_000_000
    assert grown < 50_000


def test_read_back(source: SimulatedSource) -> None:
    """What it keeps is what pydicom reads."""
    uid = source.references()[-1].sop_instance_uid
    with Rad69(source.url) as rad69:
        assert rad69.get_dataset(source.references()[-1]) == dcmread(BytesIO(source.data(uid)))
