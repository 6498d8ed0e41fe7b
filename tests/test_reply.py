"""One reply as a machine: every stack's writer, every quirk, whole, byte by byte and with a tail."""

from __future__ import annotations

import base64
import dataclasses
import quopri
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import _errors as errors
from asyncrad69._multipart import content_type
from asyncrad69._reply import Reply, check_status
from replies import (
    EBRS_STATUS,
    IHE_STATUS,
    LIMITS,
    STACKS,
    Sent,
    Stack,
    Written,
    answer,
    document,
    error,
    fault_11,
    fault_12,
    include,
    inline,
    read,
    read_all_ways,
    simple,
    singly,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CXF = STACKS["cxf"]
AWKWARD = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n--",
    b"--uuid:",
    b"\r\n--uuid:5eb2c8f0-7d4b-4a53-9f35-2a3f4d0c8b1",
    b"\0" * 9,
    b"x",
)
DOCUMENTS = [Sent(f"1.2.{number}", b"data" + data) for number, data in enumerate(AWKWARD)]
BY_UID = {sent.uid: sent.data for sent in DOCUMENTS}

every_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)


def raw(
    parts: Sequence[tuple[str, bytes]], *, boundary: str = "B", start: str | None = None, outer: str | None = None
) -> Written:
    """A multipart reply of header blocks and bodies."""
    named = "" if start is None else f'; start="{start}"'
    body = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    return Written(outer or f"multipart/related; boundary={boundary}{named}", body + f"--{boundary}--".encode())


def root(*documents: str, status: str = EBRS_STATUS + "Success") -> tuple[str, bytes]:
    """A root part that names *documents*."""
    return "Content-Type: application/xop+xml\r\nContent-ID: <root>", answer(documents, status=status).encode()


ONE = ("Content-Type: application/dicom\r\nContent-ID: <one@x>", b"ONE")
ONE_NAMED = document("1.1", include("cid:one@x"))


# --- the stacks


@every_stack
@pytest.mark.parametrize("size", [0, 1, 767, 768, 3000])
def test_every_stack_is_read_to_the_byte(stack: Stack, size: int) -> None:
    """Every document of every writer comes under its name, byte for byte, in the part or inside the XML."""
    documents = [*DOCUMENTS, Sent("1.3", b"\xff" * (size or 1))]
    result = read_all_ways(stack.write(documents))
    assert result.error is None
    assert result.complete
    assert result.documents == {sent.uid: sent.data for sent in documents}
    assert result.manifest is not None
    assert result.manifest.status == "Success"
    assert result.manifest.relates_to == "urn:uuid:1"
    assert (result.absent, result.remarks) == ((), [])


@every_stack
def test_every_cut_is_noticed(stack: Stack) -> None:
    """Cut anywhere before the end of its closing delimiter, a reply is truncated, and only whole parts ended."""
    documents = [Sent("1.1", b"FIRST"), Sent("1.2", b"SECOND" * 2)]
    written = stack.write(documents)
    for length in range(1, written.body.rindex(b"--") + 2):
        result = read(dataclasses.replace(written, body=written.body[:length]))
        assert isinstance(result.error, errors.TruncatedResponse), length
        assert result.documents.items() <= {sent.uid: sent.data for sent in documents}.items()


@every_stack
@pytest.mark.parametrize("root_text", [fault_12("Receiver", subcode="ActionMismatch"), fault_11("Server")])
@pytest.mark.parametrize("http_status", [200, 400, 500])
@pytest.mark.parametrize("bare", [True, False])
def test_a_fault_is_a_fault_however_it_comes(stack: Stack, root_text: str, http_status: int, bare: bool) -> None:
    """SOAP 1.1 or 1.2, in multipart or bare, with any HTTP status: a SoapFault with its code and that status."""
    written = (
        simple(root_text, http_status=http_status) if bare else stack.write(root=root_text, http_status=http_status)
    )
    check_status(written.http_status, written.content_type)
    result = read_all_ways(written)
    assert isinstance(result.error, errors.SoapFault)
    assert result.error.code in {"Receiver", "Server"}
    assert (result.error.http_status, result.error.reason, result.error.retryable) == (http_status, "no", True)


@every_stack
@pytest.mark.parametrize("status", [EBRS_STATUS, IHE_STATUS])
def test_partial_success_delivers_and_says_what_is_missing(stack: Stack, status: str) -> None:
    """Both spellings of PartialSuccess: the documents come, and the errors beside them."""
    missing = error("XDSMissingDocument", location="1.9")
    result = read_all_ways(stack.write(DOCUMENTS[:2], status=status + "PartialSuccess", errors=[missing]))
    assert result.error is None
    assert result.manifest is not None
    assert result.manifest.status == "PartialSuccess"
    assert [(type(each), each.location) for each in result.manifest.errors] == [(errors.XDSMissingDocumentError, "1.9")]
    assert result.documents == {sent.uid: sent.data for sent in DOCUMENTS[:2]}


@every_stack
@pytest.mark.parametrize("bare", [True, False])
def test_failure_is_not_an_empty_success(stack: Stack, bare: bool) -> None:
    """A Failure without documents, in multipart or bare, gives its errors."""
    told = [error("XDSUnknownRepositoryId"), error("MyBigError")]
    written = stack.write(status=EBRS_STATUS + "Failure", errors=told)
    if bare:
        written = simple(answer(status=EBRS_STATUS + "Failure", errors=told))
    result = read_all_ways(written)
    assert result.error is None
    assert result.manifest is not None
    assert result.manifest.status == "Failure"
    assert [each.error_code for each in result.manifest.errors] == ["XDSUnknownRepositoryId", "MyBigError"]


def test_a_failure_may_bring_documents() -> None:
    """Documents beside a Failure are delivered all the same."""
    result = read_all_ways(CXF.write(DOCUMENTS, status=EBRS_STATUS + "Failure", errors=[error("XDSRepositoryError")]))
    assert result.documents == BY_UID


# --- root part and references


@every_stack
def test_the_root_part_may_come_last(stack: Stack) -> None:
    """Where start names the last part, the documents before it come without a name, byte for byte."""
    stack = dataclasses.replace(stack, root_last=True, after_root="", inlines_up_to=-1)
    result = read_all_ways(stack.write(DOCUMENTS))
    assert result.error is None
    assert result.data == [sent.data for sent in DOCUMENTS]
    assert {part.document_unique_id for part in result.parts} == {None}
    assert (result.absent, result.remarks) == ((), [])


def test_the_root_part_may_stand_in_the_middle() -> None:
    """A part before the root has no name yet, one after it has."""
    two = ("Content-ID: <two@x>", b"TWO")
    result = read_all_ways(raw([ONE, root(ONE_NAMED, document("1.2", include("cid:two@x"))), two], start="<root>"))
    assert [(part.document_unique_id, data) for part, data in zip(result.parts, result.data, strict=True)] == [
        (None, b"ONE"),
        ("1.2", b"TWO"),
    ]
    assert result.absent == ()


@pytest.mark.parametrize(
    ("start", "head", "remarks"),
    [
        pytest.param(None, "Content-Type: text/xml", [], id="no-start-first-part-is-xml"),
        pytest.param(None, "Content-ID: <a>", [], id="no-start-no-type"),
        pytest.param(
            "<nobody>", "Content-Type: application/xop+xml", ["the start parameter names no part"], id="wrong-start"
        ),
        pytest.param("r%3Aoot", "Content-ID: <r:oot>", [], id="start-encoded-and-without-brackets"),
        pytest.param("<r:oot>", "Content-ID: r%3Aoot\r\nContent-Type: text/plain", [], id="content-id-encoded"),
    ],
)
def test_the_root_part_is_found(start: str | None, head: str, remarks: list[str]) -> None:
    """RFC 2387 3.2: the part that start names, else the first; a wrong start is remarked upon."""
    result = read_all_ways(raw([(head, root(ONE_NAMED)[1]), ONE], start=start))
    assert result.documents == {"1.1": b"ONE"}
    assert result.remarks == remarks


def test_without_a_root_part_nothing_is_proved() -> None:
    """A multipart reply of documents alone is an error, after its documents."""
    result = read_all_ways(raw([ONE]))
    assert result.data == [b"ONE"]
    assert isinstance(result.error, errors.SoapError)


@pytest.mark.parametrize(
    ("content_id", "href"),
    [
        ("<a@b:c>", "cid:a@b%3Ac"),
        ("<a@b%3Ac>", "cid:a@b%3ac"),
        ("<a@b%3Ac>", "cid:a@b:c"),
        ("a@b:c", "cid:a@b:c"),
        ("<a+1@b>", "cid:a+1@b"),
        ("<a+1@b>", "CID:a%2B1@b"),
        ("  <a@b>  ", " cid:a@b "),
    ],
)
def test_a_part_is_matched_as_rfc_2392_says(content_id: str, href: str) -> None:
    """Percent-encoded or raw on either side; a plus is a plus; brackets and blanks around it do not count."""
    result = read_all_ways(raw([root(document("1.1", include(href))), (f"Content-ID: {content_id}", b"ONE")]))
    assert result.documents == {"1.1": b"ONE"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"\n  {include('cid:one@x')}\n  ", id="white-space-around"),
        pytest.param(
            '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:one@x"></i:Include>',
            id="other-prefix",
        ),
    ],
)
def test_an_include_is_resolved(content: str) -> None:
    """Pretty printers and other prefixes make no difference."""
    assert read_all_ways(raw([root(document("1.1", content)), ONE])).documents == {"1.1": b"ONE"}


@pytest.mark.parametrize("href", ["cid:other@x", "http://127.0.0.1/one", "cid:http://x/", "cid:", "one@x", ""])
def test_an_include_without_its_part_is_absent(href: str) -> None:
    """A promise without a part is listed as absent, nothing is fetched, and the other documents come."""
    result = read_all_ways(raw([root(document("1.9", include(href)), ONE_NAMED), ONE]))
    assert result.error is None
    assert result.documents == {"1.1": b"ONE"}
    assert [each.document_unique_id for each in result.absent] == ["1.9"]


def test_a_part_nobody_names_comes_with_a_remark() -> None:
    """A part that the manifest does not reference is delivered without a name, and remarked upon."""
    result = read_all_ways(raw([root(), ONE, ("Content-Type: application/dicom", b"TWO")]))
    assert result.data == [b"ONE", b"TWO"]
    assert [part.document_unique_id for part in result.parts] == [None, None]
    assert result.remarks == ["a part came that the manifest does not name"] * 2


def test_one_part_for_two_documents_has_no_name_of_its_own() -> None:
    """Whose a part is that two documents point to is in the part itself; twice the same document is one."""
    both = raw([root(ONE_NAMED, document("1.2", include("cid:one@x"))), ONE])
    assert read_all_ways(both).documents == {None: b"ONE"}
    assert read_all_ways(raw([root(ONE_NAMED, ONE_NAMED), ONE])).documents == {"1.1": b"ONE"}


def test_the_manifests_media_type_counts() -> None:
    """mimeType says what a document is, where the part says octet-stream; without it the part says."""
    wcf = read_all_ways(raw([root(ONE_NAMED), (ONE[0].replace("dicom", "octet-stream"), b"ONE")]))
    jpeg = read_all_ways(raw([root(document("1.1", include("cid:one@x"), mime_type="image/JPEG; q=1")), ONE]))
    unsaid = read_all_ways(raw([root(document("1.1", include("cid:one@x"), mime_type="")), ONE]))
    types = [result.parts[0].media_type for result in (wcf, jpeg, unsaid)]
    assert types == ["application/dicom", "image/jpeg", "application/dicom"]


def test_an_empty_part_is_a_document_of_no_bytes() -> None:
    """A part of no bytes begins and ends; what it lacks is for the DICOM check to say."""
    result = read_all_ways(raw([root(ONE_NAMED), (ONE[0], b"")]))
    assert result.documents == {"1.1": b""}


# --- transfer encodings and inline documents


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("base64", base64.b64encode(bytes(range(256)))),
        ("BASE64", base64.encodebytes(bytes(range(256))).replace(b"\n", b"\r\n")),
        ("base64", base64.b64encode(bytes(range(256))).rstrip(b"=")),
        ("base64", base64.b64encode(bytes(range(256))) + b"AAAA"),
        ("quoted-printable", quopri.encodestring(bytes(range(256)))),
        ("binary", bytes(range(256))),
        ("8bit", bytes(range(256))),
        ("7bit", bytes(range(256))),
    ],
)
def test_transfer_encodings_are_undone(encoding: str, encoded: bytes) -> None:
    """RFC 2045 6, on documents; line breaks in base64 are ignored, its padding ends it."""
    head = f"{ONE[0]}\r\nContent-Transfer-Encoding: {encoding}"
    assert read_all_ways(raw([root(ONE_NAMED), (head, encoded)])).documents == {"1.1": bytes(range(256))}


@pytest.mark.parametrize("length", range(10))
def test_base64_of_any_length(length: int) -> None:
    """Every length of a group is read, and a lone last character makes nothing."""
    head = f"{ONE[0]}\r\nContent-Transfer-Encoding: base64"
    data = bytes(range(length))
    assert read_all_ways(raw([root(ONE_NAMED), (head, base64.b64encode(data))])).data == [data]
    assert read_all_ways(raw([root(ONE_NAMED), (head, b"AAAA" * length + b"A")])).data == [b"\0\0\0" * length]


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_the_root_may_be_encoded_too(encoding: str) -> None:
    """A root part in any known transfer encoding is read."""
    head, xml = root(ONE_NAMED)
    encoded = {"base64": base64.b64encode(xml), "quoted-printable": quopri.encodestring(xml), "8bit": xml}[encoding]
    result = read_all_ways(raw([(f"{head}\r\nContent-Transfer-Encoding: {encoding}", encoded), ONE]))
    assert result.documents == {"1.1": b"ONE"}


def test_an_unknown_transfer_encoding_concerns_one_part() -> None:
    """The part has a flaw; the others come."""
    odd = ("Content-ID: <two@x>\r\nContent-Transfer-Encoding: x-uuencode", b"TWO")
    result = read_all_ways(raw([root(ONE_NAMED, document("1.2", include("cid:two@x"))), odd, ONE]))
    assert {part.document_unique_id: part.flaw for part in result.parts} == {
        "1.2": "comes in an unknown Content-Transfer-Encoding",
        "1.1": None,
    }


@pytest.mark.parametrize(
    "text",
    [inline(b"INLINE"), f"\n    {inline(b'INLINE')}\n", "SU5M\nSU5F\r\n", "&#x53;U5MSU5F", "<![CDATA[SU5MSU5F]]>"],
)
def test_inline_documents_are_parts_like_others(text: str) -> None:
    """Base64 in the XML, alone in simple SOAP or beside xop in multipart, comes as a part does."""
    alone = read_all_ways(simple(answer([document("1.2", text)])))
    mixed = read_all_ways(raw([root(document("1.2", text), ONE_NAMED), ONE]))
    assert alone.documents == {"1.2": b"INLINE"}
    assert mixed.documents == {"1.2": b"INLINE", "1.1": b"ONE"}


@pytest.mark.parametrize("content", ["", " ", "A", "not base64: é", "<x/>"])
def test_a_document_without_content_is_absent(content: str) -> None:
    """An empty Document, or one that is no base64, is promised and not there."""
    result = read_all_ways(simple(answer([document("1.2", content)])))
    assert [each.document_unique_id for each in result.absent] == ["1.2"]
    assert result.parts == []


# --- framing, seen from the reply


@pytest.mark.parametrize(
    "outer",
    [
        'Multipart/Related;Boundary="B";TYPE="application/xop+xml";Start="<root>"',
        'multipart/related; boundary="B"; start="<root>"; start-info="application/soap+xml; action=\\"urn:x;y\\"";',
        "multipart/related;\t boundary=B;\r\n\tstart=<root>",
        "multipart/related; charset=utf-8; boundary=B ; start=root",
        "multipart/related",
        "multipart/mixed; boundary=B",
    ],
)
def test_the_outer_header_in_all_its_spellings(outer: str) -> None:
    """Upper case, quoted pairs, tabs, folding, a trailing semicolon, no boundary at all."""
    assert read_all_ways(raw([root(ONE_NAMED), ONE], outer=outer)).documents == {"1.1": b"ONE"}


@pytest.mark.parametrize("boundary", ["uuid:a+id=1", "----=_Part_1_17.16", "=_?MTOM", "a'b(c)d", "x" * 200])
@pytest.mark.parametrize("quoted", [True, False])
def test_boundaries_are_read_whole(boundary: str, quoted: bool) -> None:
    """A boundary with tspecials is read to its end, quoted or not."""
    value = f'"{boundary}"' if quoted else boundary
    written = raw([root(ONE_NAMED), ONE], boundary=boundary, outer=f"multipart/related; boundary={value}; type=x")
    assert read_all_ways(written).documents == {"1.1": b"ONE"}


def test_many_documents() -> None:
    """Ten thousand documents are no special case."""
    documents = [Sent(f"1.2.{number}", b"%d" % number) for number in range(10_000)]
    limits = dataclasses.replace(LIMITS, max_root=16 << 20, max_parts=20_000)
    result = read(CXF.write(documents), limits=limits)
    assert result.error is None
    assert result.documents == {sent.uid: sent.data for sent in documents}


# --- limits


def quoted_printable_root(size: int) -> Written:
    """A root part that grows while it is decoded only at its end."""
    return raw([("Content-Type: application/xop+xml\r\nContent-Transfer-Encoding: quoted-printable", b"x" * size)])


@pytest.mark.parametrize(
    ("limit", "written"),
    [
        ("max_root", raw([("Content-Type: application/xop+xml", b"x" * 501)])),
        ("max_root", quoted_printable_root(501)),
        ("max_root", simple("<x>" + "x" * 500)),
        ("max_part", raw([root(ONE_NAMED), (ONE[0], b"x" * 501)])),
        ("max_part", raw([root(ONE_NAMED), (f"{ONE[0]}\r\nContent-Transfer-Encoding: base64", b"x" * 501)])),
        ("max_preamble", Written("multipart/related; boundary=B", b"x" * 501 + b"\r\n--B--")),
        ("max_header_line", raw([(f"X: {'x' * 500}", b"")])),
        ("max_header_count", raw([("X: x\r\n" * 500 + "X: x", b"")])),
        ("max_headers", raw([(f"X: {'x' * 300}\r\nY: {'x' * 300}", b"")])),
        ("max_parts", raw([root(), *[("X: x", b"")] * 500])),
        ("max_boundary", raw([root()], boundary="x" * 501)),
        ("max_fault", dataclasses.replace(simple("<x>" + "x" * 500), http_status=500)),
        ("max_fault", dataclasses.replace(quoted_printable_root(501), http_status=400)),
        ("max_xml_depth", simple("<x>" * 501)),
    ],
)
def test_each_limit_says_its_name_and_value(limit: str, written: Written) -> None:
    """Passing a limit is a LimitExceeded with the field's name and value, however the bytes are cut."""
    maximum = 1000 if limit == "max_root" and b"Success" in written.body else 500
    limits = dataclasses.replace(LIMITS, **{limit: maximum})
    result = read_all_ways(written, limits=limits)
    assert isinstance(result.error, errors.LimitExceeded)
    assert (result.error.limit, result.error.maximum) == (limit, maximum)
    assert f"{maximum}" in str(result.error)
    assert f"Limits({limit}=...)" in str(result.error)


def test_a_reply_at_its_limits_is_read() -> None:
    """Every limit is the most that is accepted."""
    xml = root(ONE_NAMED)[1]
    written = raw([("Content-Type: application/xop+xml", xml), ("Content-ID: <one@x>", b"ONE")])
    written = dataclasses.replace(written, body=b"12345\r\n" + written.body)
    at = dataclasses.replace(
        LIMITS,
        max_root=len(xml),
        max_part=3,
        max_preamble=7,
        max_header_line=len("Content-Type: application/xop+xml\r"),
        max_headers=len("Content-Type: application/xop+xml"),
        max_header_count=1,
        max_parts=2,
        max_boundary=1,
        max_xml_depth=6,
    )
    assert read_all_ways(written, limits=at).documents == {"1.1": b"ONE"}
    for field in dataclasses.fields(at):
        # This reply is no fault, and the others are of DICOM and of HTTP.
        if field.name in {"max_fault", "max_dicom_depth", "max_dicom_inflation", "max_inflation"}:
            continue
        one_less = dataclasses.replace(at, **{field.name: getattr(at, field.name) - 1})
        refused = read_all_ways(written, limits=one_less).error
        assert isinstance(refused, errors.LimitExceeded)
        assert refused.limit == field.name


# --- what is not a reply


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/json", "", "doe^john 1950"])
def test_a_login_page_is_named_as_such(media_type: str) -> None:
    """Anything but multipart or XML is refused before a byte of it is read."""
    result = read(Written(media_type, b"<html>"))
    assert isinstance(result.error, errors.NotARad69Response)
    assert "doe" not in str(result.error)
    assert result.error.content_type == media_type.partition(";")[0]
    assert "login page" in str(result.error)


@pytest.mark.parametrize("media_type", ["application/soap+xml", "text/xml", "application/xop+xml"])
def test_an_empty_reply_is_not_an_empty_success(media_type: str) -> None:
    """No byte of XML: not RAD-69."""
    assert isinstance(read(Written(media_type, b"")).error, errors.NotARad69Response)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"<html>login</html>\r\n"])
def test_a_multipart_without_its_boundary_is_truncated(body: bytes) -> None:
    """A multipart body that never comes to its first delimiter."""
    result = read_all_ways(Written('multipart/related; boundary="B"', body))
    assert isinstance(result.error, errors.TruncatedResponse)


@pytest.mark.parametrize(
    ("status", "media_type", "cls", "word"),
    [
        (401, "text/xml", errors.AuthenticationError, "auth="),
        (403, "multipart/related", errors.AuthenticationError, "auth="),
        (407, "", errors.AuthenticationError, "proxy="),
        (413, "", errors.RequestTooLarge, "413"),
        (429, "", errors.ServerBusy, "429"),
        (503, "application/soap+xml", errors.ServerBusy, "503"),
        (202, "", errors.HTTPStatusRefused, "ReplyTo"),
        (204, "", errors.HTTPStatusRefused, "204"),
        (302, "text/html", errors.HTTPStatusRefused, "final URL"),
        (404, "text/html", errors.HTTPStatusRefused, "path"),
        (405, "", errors.HTTPStatusRefused, "POST"),
        (415, "", errors.HTTPStatusRefused, "simple"),
        (500, "text/html", errors.HTTPStatusRefused, "500"),
        (504, "", errors.HTTPStatusRefused, "504"),
    ],
)
def test_http_statuses_are_typed(status: int, media_type: str, cls: type[errors.HTTPStatusRefused], word: str) -> None:
    """A status that cannot hold a fault is an error of its own class, with what to do about it."""
    with pytest.raises(errors.HTTPStatusRefused) as caught:
        check_status(status, media_type, retry_after_s=7.0)
    assert type(caught.value) is cls
    assert (caught.value.http_status, caught.value.retry_after_s) == (status, 7.0)
    assert word in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 404, 500, 502])
@pytest.mark.parametrize("media_type", ["application/soap+xml", "text/xml; charset=x", "Multipart/Related; boundary=B"])
def test_a_status_that_may_hold_a_fault_is_let_through(status: int, media_type: str) -> None:
    """SOAP 1.2 part 2, 7.5.2.2: the fault is in the body."""
    check_status(status, media_type)


# --- how far it is


def test_a_long_root_is_announced() -> None:
    """parses_long says that the next step parses much XML; complete, that the rest does not matter."""
    written = CXF.write([Sent(f"1.{number}", b"x") for number in range(30)])
    reply = Reply(http_status=200, content_type=written.content_type, limits=LIMITS)
    long = [bool(reply.parses_long) for byte in singly(written.body) if [*reply.feed(byte)] or True]
    assert long.count(True) == 0
    big = simple(answer([document("1.1", inline(b"x" * 40_000))]))
    reply = Reply(http_status=200, content_type=big.content_type, limits=LIMITS)
    assert not reply.complete
    assert [*reply.feed(big.body)] == []
    assert reply.parses_long
    assert not reply.complete


@pytest.mark.parametrize(
    "header", ["a; b*=x; b*0=y", "a; b*0*=x''y; b*1=z", "multipart/related; boundary*=utf-8''B%3A", "=?", ";;;", "a; b"]
)
def test_strange_content_types_are_no_crash(header: str) -> None:
    """A malformed header gives what can be had of it."""
    media_type, parameters = content_type(header)
    assert isinstance(media_type, str)
    assert all(isinstance(value, str) for value in parameters.values())
