"""
The bytes of a source: synthetic DICOM files, and MTOM replies made of named pieces so that they can be cut anywhere.

Written for the fault tests alone and independent of `asyncrad69`, so that no mistake is shared.
"""

from __future__ import annotations

import base64
import random
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
PARTIAL = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"

PATIENT_NAME = "Sentinelname^Patientia"
PATIENT_ID = "SENTINELID4711"

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LONG = {b"OB", b"OW", b"SQ", b"UN"}


# --- DICOM ---------------------------------------------------------------------------------------------


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """One element in explicit VR little endian (PS3.5 7.1.2)."""
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    head = struct.pack("<HH", group, number) + vr
    if vr in _LONG:
        return head + b"\0\0" + struct.pack("<L", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def file_meta(sop_instance_uid: str, transfer_syntax: str = EXPLICIT_LITTLE) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1)."""
    group = b"".join(
        (
            element(2, 1, b"OB", b"\0\1"),
            element(2, 2, b"UI", _SECONDARY_CAPTURE.encode()),
            element(2, 3, b"UI", sop_instance_uid.encode()),
            element(2, 0x10, b"UI", transfer_syntax.encode()),
            element(2, 0x12, b"UI", b"2.25.1"),
        )
    )
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<L", len(group))) + group


def pixels(seed: int, size: int) -> bytes:
    """Random bytes with line ends and dashes among them, which no delimiter search may stumble over."""
    generator = random.Random(seed)
    noise = bytearray(generator.randbytes(size))
    for fragment in (b"\r\n--", b"\r\n\r\n", b"--", b"\n"):
        position = generator.randrange(size - len(fragment))
        noise[position : position + len(fragment)] = fragment
    return bytes(noise)


def dicom_file(study_uid: str, series_uid: str, sop_uid: str, *, rows: int, columns: int, pixel_data: bytes) -> bytes:
    """A Secondary Capture image of a patient who does not exist."""
    return file_meta(sop_uid) + b"".join(
        (
            element(8, 5, b"CS", b"ISO_IR 100"),
            element(8, 0x16, b"UI", _SECONDARY_CAPTURE.encode()),
            element(8, 0x18, b"UI", sop_uid.encode()),
            element(8, 0x60, b"CS", b"OT"),
            element(0x10, 0x10, b"PN", PATIENT_NAME.encode()),
            element(0x10, 0x20, b"LO", PATIENT_ID.encode()),
            element(0x20, 0xD, b"UI", study_uid.encode()),
            element(0x20, 0xE, b"UI", series_uid.encode()),
            element(0x28, 2, b"US", b"\1\0"),
            element(0x28, 4, b"CS", b"MONOCHROME2"),
            element(0x28, 0x10, b"US", struct.pack("<H", rows)),
            element(0x28, 0x11, b"US", struct.pack("<H", columns)),
            element(0x28, 0x100, b"US", b"\x08\0"),
            element(0x28, 0x101, b"US", b"\x08\0"),
            element(0x28, 0x102, b"US", b"\7\0"),
            element(0x28, 0x103, b"US", b"\0\0"),
            element(0x7FE0, 0x10, b"OB", pixel_data),
        )
    )


@dataclass(frozen=True)
class Study:
    """
    What a source holds: series of instances.

    Attributes:
        instances: The file of each SOP Instance UID.
        references: Study, series and SOP Instance UID of each, in order.
    """

    instances: dict[str, bytes]
    references: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, *, series: int = 1, per_series: int = 5, rows: int = 40, columns: int = 50, number: int = 1) -> Study:
        """As many series of as many instances, each of rows x columns bytes of pixel data and about 500 of header."""
        study = f"2.25.{number}00"
        references = [
            (study, f"{study}.{s}", f"{study}.{s}.{i}") for s in range(1, series + 1) for i in range(1, per_series + 1)
        ]
        instances = {
            uids[2]: dicom_file(*uids, rows=rows, columns=columns, pixel_data=pixels(seed, rows * columns))
            for seed, uids in enumerate(references)
        }
        return cls(instances, tuple(references))


# --- MTOM ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """A RegistryError."""

    code: str
    location: str = ""
    severity: str = "Error"


@dataclass(frozen=True)
class Piece:
    """
    A run of bytes of a reply.

    Attributes:
        name: What it is, e.g. ``"headers 2"``: of the second part that carries a document.
        data: The bytes.
        proves: The instance that is whole once all of these bytes have come.
    """

    name: str
    data: bytes
    proves: str | None = None


@dataclass(frozen=True)
class Reply:
    """
    One reply, ready to be sent whole, cut or spoilt.

    Attributes:
        content_type: Its Content-Type header.
        pieces: Its body.
    """

    content_type: str
    pieces: tuple[Piece, ...]

    @property
    def body(self) -> bytes:
        """All of the body."""
        return b"".join(piece.data for piece in self.pieces)

    def proven(self, cut: int) -> set[str]:
        """The instances whose closing delimiter lies before *cut*."""
        end, proven = 0, set()
        for piece in self.pieces:
            end += len(piece.data)
            if piece.proves and end <= cut:
                proven.add(piece.proves)
        return proven

    def position(self, name: str, share: float = 0.0) -> int:
        """Where the piece *name* begins, or the byte after a share of it."""
        start = 0
        for piece in self.pieces:
            if piece.name == name:
                return start + int(len(piece.data) * share)
            start += len(piece.data)
        raise KeyError(name)

    def boundaries(self) -> list[int]:
        """Where pieces meet, the two ends included."""
        ends = [0]
        for piece in self.pieces:
            ends.append(ends[-1] + len(piece.data))
        return ends

    def with_body(self, body: bytes) -> Reply:
        """The same head with another body."""
        return replace(self, pieces=(Piece("body", body),))


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How a source writes a reply; the defaults are the standard's."""

    boundary: str = "uuid:6f1c2a-9"
    content_type: str = (
        'multipart/related; type="application/xop+xml"; start="<root@source>"; start-info="application/soap+xml"; '
        'boundary="{boundary}"'
    )
    status: str = SUCCESS
    errors: tuple[Error, ...] = ()
    listed: tuple[str, ...] | None = None
    relates_to: str | None = None
    preamble: bytes = b""
    epilogue: bytes = b"\r\n"
    padding: bytes = b""
    line_end: bytes = b"\r\n"
    root_last: bool = False
    root: bytes | None = None
    part_headers: tuple[bytes, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)


def mtom_reply(instances: Iterable[tuple[str, bytes]], writing: Writing) -> Reply:
    """A RetrieveDocumentSetResponse with one part per instance (ITI TF-2 3.43.5, XOP 1.0)."""
    parts = list(instances)
    root = root_xml(parts, writing) if writing.root is None else writing.root
    documents = [
        Part(f"{number}", uid, _content_id(uid), writing.documents.get(uid, data), writing.part_headers)
        for number, (uid, data) in enumerate(parts, start=1)
    ]
    root_part = Part("root", None, "root@source", root, (), 'application/xop+xml; type="application/soap+xml"')
    ordered = [*documents, root_part] if writing.root_last else [root_part, *documents]
    return Reply(writing.content_type.format(boundary=writing.boundary), tuple(_pieces(ordered, writing)))


def simple_reply(instances: Iterable[tuple[str, bytes]], writing: Writing) -> Reply:
    """The same as one XML document, with the instances in it (XOP 1.0, 1.2: none of them is optimised)."""
    parts = list(instances)
    xml = root_xml(parts, writing)
    for uid, data in parts:
        xml = xml.replace(_include(uid).encode(), base64.b64encode(data))
    return Reply("application/soap+xml; charset=utf-8", (Piece("xml", xml),))


@dataclass(frozen=True)
class Part:
    """One body part."""

    name: str
    uid: str | None
    content_id: str
    data: bytes
    headers: tuple[bytes, ...] = ()
    media_type: str = "application/dicom"

    def head(self, line_end: bytes) -> bytes:
        """Its header lines and the blank line."""
        lines = (
            b"Content-Type: " + self.media_type.encode(),
            b"Content-Transfer-Encoding: binary",
            b"Content-ID: <" + self.content_id.encode() + b">",
            *self.headers,
        )
        return line_end.join((*lines, b"", b""))


def _pieces(parts: list[Part], writing: Writing) -> Iterable[Piece]:
    line_end, dashes = writing.line_end, b"--" + writing.boundary.encode()
    yield Piece("preamble", writing.preamble)
    before: str | None = None
    for part in parts:
        first = part is parts[0]
        delimiter = (b"" if first else line_end) + dashes + writing.padding + line_end
        yield Piece(f"delimiter {part.name}", delimiter, before)
        yield Piece(f"headers {part.name}", part.head(line_end))
        yield Piece(f"data {part.name}", part.data)
        before = part.uid
    yield Piece("final delimiter", line_end + dashes)
    yield Piece("final dashes", b"--", before)
    yield Piece("epilogue", writing.epilogue)


def _content_id(uid: str) -> str:
    return f"{uid}@source"


def root_xml(parts: Iterable[tuple[str, bytes]], writing: Writing) -> bytes:
    """The root part."""
    listed = [uid for uid, _ in parts] if writing.listed is None else writing.listed
    relates_to = f"<a:RelatesTo>{writing.relates_to}</a:RelatesTo>" if writing.relates_to else ""
    errors = "".join(
        f'<rs:RegistryError errorCode="{error.code}" codeContext="for {PATIENT_NAME}" location="{error.location}" '
        f'severity="urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:{error.severity}"/>'
        for error in writing.errors
    )
    error_list = f"<rs:RegistryErrorList>{errors}</rs:RegistryErrorList>" if errors else ""
    return envelope(
        '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007" '
        'xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0">'
        f'<rs:RegistryResponse status="{writing.status}">{error_list}</rs:RegistryResponse>'
        f"{''.join(map(_document_response, listed))}</x:RetrieveDocumentSetResponse>",
        header=f"<a:Action>urn:ihe:rad:2009:RetrieveImagingDocumentSetResponse</a:Action>{relates_to}",
    )


def _document_response(uid: str) -> str:
    return (
        f"<x:DocumentResponse><x:RepositoryUniqueId>1.2.3</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{uid}</x:DocumentUniqueId><x:mimeType>application/dicom</x:mimeType><x:Document>"
        f"{_include(uid)}</x:Document></x:DocumentResponse>"
    )


def _include(uid: str) -> str:
    return f'<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:{_content_id(uid)}"/>'


def envelope(body: str, *, header: str = "", namespace: str = "http://www.w3.org/2003/05/soap-envelope") -> bytes:
    """A SOAP envelope."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{namespace}" '
        f'xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>{header}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault_12(code: str) -> bytes:
    """A SOAP 1.2 fault (part 1, 5.4)."""
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value></s:Code><s:Reason>"
        f'<s:Text xml:lang="en">not for {PATIENT_NAME}</s:Text></s:Reason></s:Fault>'
    )


def fault_11(code: str) -> bytes:
    """A SOAP 1.1 fault (4.4)."""
    return envelope(
        f"<s:Fault><faultcode>s:{code}</faultcode><faultstring>not for {PATIENT_NAME}</faultstring></s:Fault>",
        namespace="http://schemas.xmlsoap.org/soap/envelope/",
    )
