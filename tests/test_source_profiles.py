"""The writer profiles: each stack's bytes, read back by the client however they arrive."""

from __future__ import annotations

from email import message_from_bytes
from typing import TYPE_CHECKING, Literal

import httpx
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from asyncrad69 import Rad69
from asyncrad69._soap_request import RetrieveImagingDocumentSet, mtom_body, new_message_id
from asyncrad69.testing import SimulatedSource
from asyncrad69.testing._profiles import PROFILES

if TYPE_CHECKING:
    from asyncrad69 import InstanceReference

EVERY_PROFILE = pytest.mark.parametrize("profile", PROFILES)


def archive() -> list[Dataset]:
    """Three tiny instances: WCF inlines the first two; the last holds what looks like a delimiter."""
    return [_dataset(1, b"\0" * 10), _dataset(2, b"\r\n--"), _dataset(3, b"\r\n--MIMEBoundary\r\n" * 60)]


def _dataset(number: int, pixels: bytes) -> Dataset:
    each = Dataset()
    each.file_meta = FileMetaDataset()
    each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    each.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    each.StudyInstanceUID, each.SeriesInstanceUID, each.SOPInstanceUID = "1.2.3", "1.2.3.4", f"1.2.3.4.{number}"
    each.BitsAllocated, each.PixelData = 8, pixels
    return each


def answered(source: SimulatedSource, *references: InstanceReference) -> httpx.Response:
    """The answer as it is on the wire."""
    wanted = references or source.references()
    question = RetrieveImagingDocumentSet(references=wanted, transfer_syntaxes=(ExplicitVRLittleEndian,))
    xml = question.xml(to=source.url, message_id=new_message_id())
    content_type, body = mtom_body(xml, question.action)
    with httpx.Client(trust_env=False) as client:
        return client.post(source.url, content=body, headers={"Content-Type": content_type})


@EVERY_PROFILE
@pytest.mark.parametrize(
    ("framing", "read_size"), [("chunked", 1), ("chunked", 7), ("chunked", 1000), ("length", 7), ("length", 1 << 18)]
)
def test_every_profile_is_read_in_every_chunking(
    profile: str, framing: Literal["chunked", "length"], read_size: int
) -> None:
    """Byte for byte what is kept, whatever the shape and wherever the chunks end."""
    with (
        SimulatedSource(archive(), profile=profile, framing=framing, read_size=read_size) as source,
        Rad69(source.url, instances_per_request=None) as rad69,
    ):
        came = {each.reference: each.data for each in rad69.instances(source.references())}
        assert came == {each: source.data(each.sop_instance_uid) for each in source.references()}
        assert len(source.requests) == 1


@EVERY_PROFILE
def test_every_profile_is_a_mime_message(profile: str) -> None:
    """Another reader of MIME finds no defect, and the root part where `start` says it is."""
    with SimulatedSource(archive(), profile=profile) as source:
        answer = answered(source)
    message = message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    assert not message.defects
    first = message.get_payload(0)
    assert not isinstance(first, str)
    assert first["Content-ID"] == message.get_param("start")
    assert first.get_content_type() == message.get_param("type") == "application/xop+xml"


# What the bytes of each stack are known by: the start, the end, and something in between.
MARKS = [
    ("plain", b"--uuid:", b"--\r\n", b'href="cid:1%2B'),
    ("cxf", b"\r\n--uuid:", b"--", b"Content-ID: <root.message@cxf.apache.org>\r\n\r\n<soap:Envelope"),
    ("metro", b"--uuid:", b"--", b"\r\nContent-Id: <rootpart*"),
    ("axis2", b"--MIMEBoundary_", b"--\r\n", b"<?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope"),
    ("wcf", b"\r\n--uuid:", b"--\r\n", b"Content-Transfer-Encoding: 8bit\r\n"),
    ("gsoap", b"--==", b"--", b"Content-ID: <SOAP-ENV:Envelope>"),
    ("toolkit2", b"--MIMEBoundary112233445566778899\r\n", b"--\r\n", b"</S:Envelope>\r\n\r\n\r\n--"),
]


@pytest.mark.parametrize(("profile", "start", "end", "within"), MARKS, ids=[each[0] for each in MARKS])
def test_what_a_stack_is_known_by(profile: str, start: bytes, end: bytes, within: bytes) -> None:
    """Preamble, boundary, headers, XML and close delimiter are the stack's."""
    with SimulatedSource(archive(), profile=profile) as source:
        body = answered(source).content
    assert body.startswith(start)
    assert body.endswith(end)
    assert not body.endswith(end + b"\r\n")
    assert within in body


def test_wcf_inlines_what_is_small() -> None:
    """Up to 767 bytes, an instance is base64 in the XML; a larger one is a part."""
    with SimulatedSource(archive(), profile="wcf") as source:
        small = [each for each in source.references() if len(source.data(each.sop_instance_uid)) <= 767]
        body = answered(source).content
    assert len(small) == 2
    assert body.count(b"Content-Type: application/octet-stream") == body.count(b":Include ") == 1


def test_toolkit2_answers_in_its_own_order() -> None:
    """Not in that of the request, which a consumer must not rely on."""
    with SimulatedSource(archive(), profile="toolkit2") as source, Rad69(source.url) as rad69:
        came = [each.reference for each in rad69.instances(source.references())]
    assert came == list(source.references()[::-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "iis"}, "profile is one of plain, cxf"),
        ({"framing": "both"}, "framing is one of"),
        ({"read_size": 0}, "read_size is at least 1"),
    ],
)
def test_what_makes_no_sense(options: dict[str, object], message: str) -> None:
    """A source that cannot be is not made."""
    with pytest.raises(ValueError, match=message):
        SimulatedSource([], **options)  # type: ignore[arg-type]
