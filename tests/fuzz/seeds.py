"""Words and right examples of every format that is fuzzed."""

from __future__ import annotations

import gzip
import struct
import zlib

from faults.wire import (
    DEFLATED,
    EXPLICIT_LITTLE,
    FAILURE,
    Error,
    Study,
    Writing,
    element,
    envelope,
    fault_11,
    fault_12,
    file_meta,
    mtom_reply,
    root_xml,
)

from .inputs import Grammar

_STUDY = Study.of(per_series=2, rows=7, columns=8)
_PARTS = list(_STUDY.instances.items())
_INSTANCE = _PARTS[0][1]

MULTIPART = Grammar(
    words=(
        b"--B", b"\r\n--B", b"\n--B", b"--B--", b"\r\n--B--", b"\r\n--B\r\n", b"--B\r\n", b"--B \t\r\n", b"--B-",
        b"--BX",
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"--", b"-", b" ", b"\t", b"\0", b":", b"A: b", b"A: b\r\n",
        b" folded\r\n", b"Content-ID: <1@s>\r\n", b"Content-Type: application/dicom\r\n", b"X" * 210, b"data", b"B",
        b"Content-Transfer-Encoding: base64\r\n", b"\xff", b"no colon\r\n",
    ),
    seeds=(
        b"--B\r\nA: b\r\n\r\nhello\r\n--B\r\n\r\nmore\r\n--B--\r\n",
        b"pre\r\n--B\r\nA: b\r\nC: d\r\n e\r\n\r\n\r\n--B\r\n\r\n--B--",
        b"--B\nA: b\n\nhello\n--B\n\nx\n--B--\n",
    ),
)  # fmt: skip

CONTENT_TYPE = Grammar(
    words=(
        b"multipart/related", b"application/soap+xml", b"; ", b";", b"=", b'"', b"'", b"\\", b"boundary", b"start",
        b"type", b"boundary*=utf-8''x", b"boundary*0=a", b"boundary*1=b", b"boundary*0*=", b"''", b"%", b"%ff", b"\t",
        b" ", b"\xe4", b"/", b"<a@b>", b"uuid:1", b"----=_Part_1", b"(comment)", b",", b"\r\n ", b"\0",
        b"=?utf-8?q?x?=",
        b"*", b"*0", b"?", b"charset=klingon'en'x",
    ),
    seeds=(
        b'multipart/related; type="application/xop+xml"; start="<root@s>"; boundary="uuid:1"',
        b"multipart/related;boundary=----=_Part_1_2.3",
        b"application/soap+xml; charset=utf-8",
        b"multipart/related; boundary*=utf-8'en'a%20b",
    ),
)  # fmt: skip

_XML_WORDS = (
    b"<", b">", b"/>", b"</", b"<x>", b"</x>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&amp;", b"&lt;", b"&#0;",
    b"&#x10FFFF;", b"&e;", b'<!DOCTYPE x [<!ENTITY e "y">]>', b"<?xml version='1.0' encoding='utf-16'?>",
    b'<?xml version="1.0" encoding="x"?>', b"<?pi?>", b' xmlns="', b' xmlns:s="urn:x"', b' status="', b'"', b"s:", b":",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\xe4", b"<x><x><x><x>" * 20, b"s:Envelope", b"s:Body", b"s:Fault",
    b"<s:Code>", b"</s:Code>", b"<s:Subcode>", b"<s:Value>", b"</s:Value>", b"<x:Document>", b"</x:Document>", b"QUJD",
    b"rs:RegistryResponse", b"rs:RegistryErrorList", b"rs:RegistryError", b' errorCode="XDSMissingDocument"',
    b'<xop:Include href="cid:1@s"/>', b"x:DocumentResponse", b"<x:DocumentUniqueId>", b"</x:DocumentUniqueId>",
    b"cid:", b"%40", b"a:RelatesTo", b" ", b"\n",
)  # fmt: skip

_INLINE = envelope(
    '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007" '
    'xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"><rs:RegistryResponse status="x:Success"/>'
    "<x:DocumentResponse><x:DocumentUniqueId>1.2</x:DocumentUniqueId><x:mimeType>application/dicom</x:mimeType>"
    "<x:Document>QUJDRA==</x:Document></x:DocumentResponse></x:RetrieveDocumentSetResponse>"
)
_ROOTS = (
    root_xml(_PARTS, Writing(relates_to="urn:uuid:1")),
    root_xml((), Writing(status=FAILURE, errors=(Error("XDSMissingDocument", "1.2"), Error("x", severity="Warning")))),
    _INLINE,
    fault_12("Receiver"),
    fault_11("Client"),
)
ROOT = Grammar(words=_XML_WORDS, seeds=_ROOTS)


def _replies() -> list[bytes]:
    replies = [
        mtom_reply(_PARTS, Writing()),
        mtom_reply(_PARTS[:1], Writing(root_last=True, listed=("9.9",))),
        mtom_reply(_PARTS[:1], Writing(root=fault_12("Sender"))),
        mtom_reply(_PARTS[:1], Writing(part_headers=(b"Content-Transfer-Encoding: quoted-printable",))),
    ]
    multipart = [reply.content_type.encode() + b"\n" + reply.body for reply in replies]
    return [*multipart, b"application/soap+xml; charset=utf-8\n" + _INLINE]


_MARK = b"\r\n--" + Writing().boundary.encode()
REPLY = Grammar(
    words=(
        *_XML_WORDS, *CONTENT_TYPE.words, _MARK, _MARK + b"\r\n", _MARK + b"--", b"\r\n\r\n", b"\n",
        b"Content-ID: <root@source>\r\n", b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: x\r\n",
        b"Content-Type: text/xml\r\n", b"Content-Type: application/xop+xml\r\n",
    ),
    seeds=_replies(),
)  # fmt: skip

# --- DICOM

_SEQUENCE = struct.pack("<HH2s2xL", 0x40, 0xA730, b"SQ", 0xFFFFFFFF)
_ITEM, _ITEM_END, _SEQUENCE_END = (
    struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF),
    struct.pack("<HHL", 0xFFFE, 0xE00D, 0),
    struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
)
_IDENTITY = element(8, 0x18, b"UI", b"1.2.3") + element(0x20, 0xD, b"UI", b"1.2")
_FRAGMENTS = (
    struct.pack("<HH2s2xL", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF)
    + struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    + struct.pack("<HHL4s", 0xFFFE, 0xE000, 4, b"\xff\xd8\xff\xd9")
    + _SEQUENCE_END
)


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


DICOM = Grammar(
    words=(
        file_meta("1.2.3"), file_meta("1.2.3", DEFLATED), file_meta("1.2.3", "1.2.840.10008.1.2"),
        file_meta("1.2.3", "1.2.840.10008.1.2.2"), file_meta("1.2.3", "1.2.840.10008.1.2.4.50"), bytes(128) + b"DICM",
        _SEQUENCE, _ITEM, _ITEM_END, _SEQUENCE_END, _IDENTITY, _FRAGMENTS, element(0x28, 0x10, b"US", b"\1\0"),
        element(0x28, 0x10, b"US", b""), element(0x28, 8, b"IS", b"99999999999999"), element(0x28, 8, b"IS", b"-1"),
        element(0x28, 8, b"IS", "²".encode()), element(0x28, 8, b"IS", b"\xb2"), element(0x7FE0, 0x10, b"OB", b"\0"),
        b"\xff\xff\xff\xff", b"\0\0\0\0", b"UN", b"OB", b"SQ", b"\xfe\xff", b"\0", b"\xff" * 8, b"UI", b"1.2.3",
        _SEQUENCE + _ITEM, (_SEQUENCE + _ITEM) * 40,
    ),
    seeds=(
        _INSTANCE,
        file_meta("1.2.3") + _IDENTITY + _SEQUENCE + _ITEM + _IDENTITY + _ITEM_END + _SEQUENCE_END + _FRAGMENTS,
        file_meta("1.2.3", DEFLATED) + _deflated(_IDENTITY),
        file_meta("1.2.3", "1.2.840.10008.1.2") + struct.pack("<HHL6s", 8, 0x18, 6, b"1.2.3\0"),
    ),
)  # fmt: skip

GZIP = Grammar(
    words=(b"\x1f\x8b\x08\0", b"\x78\x9c", b"\0", b"\xff", gzip.compress(bytes(10_000)), b"\3\0", b"\x1f", b"data"),
    seeds=(gzip.compress(b"hello" * 100), gzip.compress(bytes(3 << 20)), zlib.compress(b"hello" * 100)),
)

TABLE = Grammar(
    words=(
        b"StudyInstanceUID", b"SeriesInstanceUID", b"SOPInstanceUID", b"RepositoryUniqueId", b"HomeCommunityId", b",",
        b";", b"\t", b"\n", b"\r\n", b"\r", b'"', b"1.2", b"1.2.3", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\0",
        b"\xc3\xa4",
        b"urn:oid:1.2", b"\xd9\xa1.2", b"\xe2\x80\xa8", b"\x0b", b"x" * 200, b'"\n"', b"study uid", b"\x85",
        b"\xc2\x85",
        b'"' + b"x" * 140_000,
    ),
    seeds=(
        b"StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID\n1.2,1.2.3,1.2.3.4\n1.2,1.2.3,1.2.3.5\n",
        b"study_uid;series_uid;instance_uid;repository;home community\n1.2;1.2.3;1.2.3.4;1.9;urn:oid:1.8\n",
        b'\xef\xbb\xbfSeriesInstanceUID\tStudyInstanceUID\tSOPInstanceUID\r\n"1.2.3"\t"1.2"\t"1.2.3.4"\r\n\r\n',
    ),
)  # fmt: skip


def _sequence(group: int, number: int, *items: bytes) -> bytes:
    head = struct.pack("<HH2s2xL", group, number, b"SQ", 0xFFFFFFFF)
    return head + b"".join(_ITEM + item + _ITEM_END for item in items) + _SEQUENCE_END


def _manifest() -> bytes:
    instance = element(8, 0x1150, b"UI", b"1.2.4") + element(8, 0x1155, b"UI", b"1.2.3.4.5")
    series = _sequence(8, 0x1199, instance) + element(0x20, 0xE, b"UI", b"1.2.3") + element(0x40, 0xE011, b"UI", b"1.9")
    study = _sequence(8, 0x1115, series) + element(0x20, 0xD, b"UI", b"1.2")
    return (
        file_meta("1.2.3", EXPLICIT_LITTLE)
        + element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.88.59")
        + element(8, 0x18, b"UI", b"1.2.3")
        + _sequence(0x40, 0xA375, study)
    )


KOS = Grammar(words=(*DICOM.words, _manifest()), seeds=(_manifest(),))
