"""
Everything a source or a middlebox is known to do wrong, one fault per name, and what the client owes its caller.

Each `Fault` says what one single attempt ends with. `final` faults are not worth repeating; after all others a
second request brings the rest.
"""

from __future__ import annotations

import gzip
import itertools
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, TypeAlias

from asyncrad69 import (
    AuthenticationError,
    ConnectionLost,
    HTTPStatusRefused,
    InstanceLimitExceeded,
    InvalidInstanceError,
    LimitExceeded,
    Limits,
    MultipartError,
    NotARad69Response,
    ProtocolError,
    Rad69Error,
    RequestTooLarge,
    ServerBusy,
    SoapError,
    SoapFault,
    Timeout,
    TransferTimeout,
    TruncatedResponse,
    XDSBusyError,
    XDSMissingDocumentError,
    XDSTooMuchError,
)

from .server import FRAMINGS, Exchange, Framing
from .wire import (
    DEFLATED,
    FAILURE,
    PARTIAL,
    SUCCESS,
    Error,
    Piece,
    Reply,
    Study,
    Writing,
    dicom_file,
    element,
    envelope,
    fault_11,
    fault_12,
    file_meta,
    root_xml,
)

Play: TypeAlias = Callable[[Exchange, Framing], None]

#: Which of the wanted instances one attempt delivers: all, none, all but the third, or some of those that are whole.
Delivered: TypeAlias = Literal["all", "none", "others", "some"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One fault.

    Attributes:
        name: Its name in test ids.
        play: What the server does.
        error: What a single attempt ends with for whatever it does not deliver; ``None`` if the client has nothing
            to complain about, or cannot know why something did not come.
        delivered: What a single attempt delivers.
        final: Whether to ask again is pointless: what did not come is given up at once.
        framings: Those it can happen in.
        options: What the client is told for it, e.g. a short timeout.
    """

    name: str
    play: Play
    error: type[Rad69Error] | None
    delivered: Delivered = "none"
    final: bool = False
    framings: tuple[Framing, ...] = FRAMINGS
    options: Mapping[str, Any] = field(default_factory=dict)


SHORT = {"timeout": Timeout(first_byte_s=0.4, idle_s=0.4)}


def _third(exchange: Exchange) -> str:
    """The instance that a fault concerns where it concerns one."""
    return exchange.wanted[2 if len(exchange.wanted) > 2 else 0]


# --- HTTP ----------------------------------------------------------------------------------------------


def _status(status: str, *headers: str, body: bytes = b"no", content_type: str = "text/plain") -> Play:
    def play(exchange: Exchange, framing: Framing) -> None:
        reply = Reply(content_type, (Piece("body", body),))
        exchange.send(reply, framing, status=status, headers=headers)

    return play


_LOGIN_PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def _redirect(status: str) -> Play:
    return _status(status, "Location: http://elsewhere.example/rad69")


def _no_content(exchange: Exchange, framing: Framing) -> None:
    # RFC 9110 15.3.5: a 204 ends with its head.
    exchange.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    exchange.end()


def _closed(exchange: Exchange, framing: Framing) -> None:
    exchange.end()


def _reset(exchange: Exchange, framing: Framing) -> None:
    exchange.reset()


def _stalls_before_head(exchange: Exchange, framing: Framing) -> None:
    exchange.hold()


def _stalls_after_head(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply(), framing, cut=0, ending="stall")


def _endless(piece: bytes) -> Play:
    """What never ends, a little at a time."""

    def play(exchange: Exchange, framing: Framing) -> None:
        while True:
            exchange.raw(piece)
            exchange.pause(0.01)

    return play


def _endless_headers(exchange: Exchange, framing: Framing) -> None:
    exchange.raw(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        exchange.raw(b"X-Header-%d: %b\r\n" % (number, b"x" * 1000))


def _huge_header(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply(), framing, headers=["X-Huge: " + "x" * 200_000])


def _garbage(exchange: Exchange, framing: Framing) -> None:
    exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n")
    exchange.end()


def _trickle(exchange: Exchange, framing: Framing) -> None:
    """A byte at a time, each after a wait longer than the client accepts."""
    reply = exchange.reply()
    exchange.send_head("200 OK", reply.content_type, framing, len(reply.body))
    for byte in reply.body:
        exchange.send_body(bytes([byte]), framing)
        exchange.pause(1)


def _bad_chunk_size(exchange: Exchange, framing: Framing) -> None:
    reply = exchange.reply()
    exchange.send_head("200 OK", reply.content_type, framing, 0)
    exchange.raw(b"not-a-size\r\n" + reply.body)
    exchange.end()


def _long_chunk(exchange: Exchange, framing: Framing) -> None:
    """A chunk with more in it than its size says."""
    reply = exchange.reply()
    exchange.send_head("200 OK", reply.content_type, framing, 0)
    exchange.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(reply.body) - 3000, reply.body))
    exchange.end()


def _length_and_chunked(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply(), framing, headers=["Content-Length: 10"])


def _two_lengths(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply(), framing, headers=["Content-Length: 10"])


def _length_too_small(exchange: Exchange, framing: Framing) -> None:
    reply = exchange.reply()
    exchange.send_head("200 OK", reply.content_type, framing, reply.position("headers 1"))
    exchange.raw(reply.body)


def _length_too_large(exchange: Exchange, framing: Framing) -> None:
    reply = exchange.reply()
    exchange.send_head("200 OK", reply.content_type, framing, len(reply.body) + 1000)
    exchange.raw(reply.body)
    exchange.end()


def _encoded(encoding: str, encode: Callable[[bytes], bytes]) -> Play:
    def play(exchange: Exchange, framing: Framing) -> None:
        reply = exchange.reply()
        exchange.send(reply.with_body(encode(reply.body)), framing, headers=[f"Content-Encoding: {encoding}"])

    return play


def _without_trailer(body: bytes) -> bytes:
    return gzip.compress(body)[:-20]


@cache
def _bomb() -> bytes:
    return gzip.compress(b"--" + Writing().boundary.encode() + b"\r\n\r\n" + bytes(16 << 20))


# --- SOAP ----------------------------------------------------------------------------------------------

_XML = "application/soap+xml; charset=utf-8"


def _xml(make: Callable[[Exchange], bytes], status: str = "200 OK") -> Play:
    """A reply that is one XML document."""

    def play(exchange: Exchange, framing: Framing) -> None:
        exchange.send(Reply(_XML, (Piece("body", make(exchange)),)), framing, status=status)

    return play


def _endless_fault(exchange: Exchange, framing: Framing) -> None:
    exchange.send_head("500 Oops", _XML, framing, 1 << 40)
    exchange.send_body(fault_12("Receiver").partition(b"</s:Text>")[0], framing)
    while True:
        exchange.send_body(b"    at source.Retrieve(Retrieve.java)\n" * 100, framing)


def _root(make: Callable[[Exchange], bytes]) -> Play:
    """A multipart reply with another root part."""

    def play(exchange: Exchange, framing: Framing) -> None:
        exchange.send(exchange.reply(Writing(root=make(exchange))), framing)

    return play


def _empty_answer(exchange: Exchange) -> bytes:
    return root_xml((), Writing(relates_to=exchange.message_id))


def _refusal(code: str, *, status: str = FAILURE) -> Callable[[Exchange], bytes]:
    def make(exchange: Exchange) -> bytes:
        errors = tuple(Error(code, uid) for uid in exchange.wanted)
        return root_xml((), Writing(status=status, errors=errors, relates_to=exchange.message_id))

    return make


def _partial(exchange: Exchange, framing: Framing) -> None:
    lost = _third(exchange)
    writing = Writing(status=PARTIAL, errors=(Error("XDSMissingDocument", lost),))
    exchange.send(exchange.reply(writing, leave_out=[lost]), framing)


def _failure_in_multipart(exchange: Exchange, framing: Framing) -> None:
    writing = Writing(status=FAILURE, errors=(Error("XDSRepositoryBusy"),))
    exchange.send(exchange.reply(writing, leave_out=exchange.wanted), framing)


def _fewer(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply(Writing(status=SUCCESS), leave_out=[_third(exchange)]), framing)


def _promised(exchange: Exchange, framing: Framing) -> None:
    """The manifest lists all, and one part is not there."""
    writing = Writing(listed=tuple(exchange.wanted))
    exchange.send(exchange.reply(writing, leave_out=[_third(exchange)]), framing)


def _dtd(exchange: Exchange) -> bytes:
    return b'<!DOCTYPE x [<!ENTITY e "Success">]>' + _empty_answer(exchange).partition(b"?>")[2]


def _deep(exchange: Exchange) -> bytes:
    return envelope("<x>" * 10_000 + "</x>" * 10_000)


def _unknown_encoding(exchange: Exchange) -> bytes:
    return _empty_answer(exchange).replace(b"UTF-8", b"x-unknown")


def _cut_xml(exchange: Exchange) -> bytes:
    return _empty_answer(exchange)[:-40]


def _large_root(exchange: Exchange) -> bytes:
    return _empty_answer(exchange) + b"<!--" + b"x" * 200_000 + b"-->"


# --- MIME ----------------------------------------------------------------------------------------------


def _written(**changes: Any) -> Play:
    """A reply written in another way."""
    writing = replace(Writing(), **changes)

    def play(exchange: Exchange, framing: Framing) -> None:
        exchange.send(exchange.reply(writing), framing)

    return play


def _empty_multipart(exchange: Exchange, framing: Framing) -> None:
    exchange.send(exchange.reply().with_body(b""), framing)


def _content_type(value: str) -> Play:
    def play(exchange: Exchange, framing: Framing) -> None:
        exchange.send(replace(exchange.reply(), content_type=value), framing)

    return play


def _endless_after(name: str, filler: bytes) -> Play:
    """All up to the piece *name*, then the filler for ever."""

    def play(exchange: Exchange, framing: Framing) -> None:
        reply = exchange.reply()
        exchange.send_head("200 OK", reply.content_type, framing, 1 << 40)
        exchange.send_body(reply.body[: reply.position(name)], framing)
        while True:
            exchange.send_body(filler, framing)

    return play


def _repeated(flipped: int) -> Play:
    """The first instance comes a second time, at the end, with its last byte flipped or not."""

    def play(exchange: Exchange, framing: Framing) -> None:
        reply = exchange.reply()
        data = exchange.study.instances[exchange.wanted[0]]
        data = data[:-1] + bytes([data[-1] ^ flipped])
        part = b"\r\n--" + _MARK + b"\r\n" + _piece(reply, "headers 1") + data
        end = reply.position("final delimiter")
        exchange.send(reply.with_body(reply.body[:end] + part + reply.body[end:]), framing)

    return play


def _piece(reply: Reply, name: str) -> bytes:
    return next(piece.data for piece in reply.pieces if piece.name == name)


# --- DICOM ---------------------------------------------------------------------------------------------


def _document(make: Callable[[Exchange, str], bytes]) -> Play:
    """The third instance's part holds something else."""

    def play(exchange: Exchange, framing: Framing) -> None:
        third = _third(exchange)
        exchange.send(exchange.reply(Writing(documents={third: make(exchange, third)})), framing)

    return play


def _stranger(exchange: Exchange, uid: str) -> bytes:
    return Study.of(number=9).instances["2.25.900.1.1"]


def _other_study(exchange: Exchange, uid: str) -> bytes:
    return dicom_file("2.25.666", uid.rpartition(".")[0], uid, rows=40, columns=50, pixel_data=bytes(2000))


def _short(exchange: Exchange, uid: str) -> bytes:
    return exchange.study.instances[uid][:-700]


def _trailing(exchange: Exchange, uid: str) -> bytes:
    return exchange.study.instances[uid] + b"<html>oops</html>"


def _in_pixels(marker: bytes) -> Play:
    """Bytes that look like a delimiter, in the middle of the third instance's pixel data: as the source has it."""

    def play(exchange: Exchange, framing: Framing) -> None:
        third = _third(exchange)
        data = exchange.study.instances[third]
        middle = len(data) - 1000
        spoilt = data[:middle] + marker + data[middle + len(marker) :]
        exchange.send(exchange.reply(Writing(documents={third: spoilt})), framing)

    return play


def _bomb_instance(exchange: Exchange, uid: str) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    identity = deflater.compress(element(8, 0x18, b"UI", uid.encode())) + deflater.flush(zlib.Z_FULL_FLUSH)
    return file_meta(uid, DEFLATED) + identity + _deflated_pixels()


@cache
def _deflated_pixels() -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    pixel_data = struct.pack("<HH2s2xL", 0x7FE0, 0x10, b"OB", 8 << 20) + bytes(8 << 20)
    return deflater.compress(pixel_data) + deflater.flush()


def _nested_instance(exchange: Exchange, uid: str) -> bytes:
    sequence, item = struct.pack("<HH2s2xL", 0x40, 0xA730, b"SQ", 0xFFFFFFFF), b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return file_meta(uid) + element(8, 0x18, b"UI", uid.encode()) + (sequence + item) * 2000


# --- the catalogue -------------------------------------------------------------------------------------

_MARK = Writing().boundary.encode()

FAULTS: tuple[Fault, ...] = (
    # HTTP: a status instead of an answer
    Fault(name="status-401", play=_status("401 Unauthorized"), error=AuthenticationError, final=True),
    Fault(name="status-403", play=_status("403 Forbidden"), error=AuthenticationError, final=True),
    Fault(name="status-407", play=_status("407 Proxy Authentication Required"), error=AuthenticationError, final=True),
    Fault(name="status-404", play=_status("404 Not Found"), error=HTTPStatusRefused, final=True),
    Fault(name="status-202", play=_status("202 Accepted", body=b""), error=HTTPStatusRefused, final=True),
    Fault(name="status-204", play=_no_content, error=HTTPStatusRefused),
    Fault(name="redirect-302", play=_redirect("302 Found"), error=HTTPStatusRefused, final=True),
    Fault(name="redirect-307", play=_redirect("307 Temporary Redirect"), error=HTTPStatusRefused, final=True),
    Fault(name="status-408", play=_status("408 Request Timeout"), error=HTTPStatusRefused),
    Fault(name="status-413", play=_status("413 Content Too Large"), error=RequestTooLarge),
    Fault(name="status-429", play=_status("429 Too Many Requests", "Retry-After: 1"), error=ServerBusy),
    Fault(
        name="status-503-date", play=_status("503 Busy", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"), error=ServerBusy
    ),
    Fault(name="status-503-nonsense", play=_status("503 Busy", "Retry-After: soon, honest"), error=ServerBusy),
    Fault(
        name="status-500-html",
        play=_status("500 Oops", body=_LOGIN_PAGE, content_type="text/html"),
        error=HTTPStatusRefused,
    ),
    Fault(name="status-502", play=_status("502 Bad Gateway"), error=HTTPStatusRefused),
    Fault(name="status-504", play=_status("504 Gateway Timeout"), error=HTTPStatusRefused),
    # HTTP: the connection
    Fault(name="closed-before-head", play=_closed, error=ConnectionLost),
    Fault(name="reset-before-head", play=_reset, error=ConnectionLost),
    Fault(name="stall-before-head", play=_stalls_before_head, error=TransferTimeout, options=SHORT),
    Fault(name="stall-after-head", play=_stalls_after_head, error=TransferTimeout, options=SHORT),
    Fault(name="one-byte-and-wait", play=_trickle, error=TransferTimeout, options=SHORT),
    Fault(name="endless-100", play=_endless(b"HTTP/1.1 100 Continue\r\n\r\n"), error=TransferTimeout, options=SHORT),
    Fault(name="endless-102", play=_endless(b"HTTP/1.1 102 Processing\r\n\r\n"), error=TransferTimeout, options=SHORT),
    Fault(name="endless-headers", play=_endless_headers, error=LimitExceeded, final=True),
    Fault(name="huge-header", play=_huge_header, error=LimitExceeded, final=True),
    Fault(name="not-http", play=_garbage, error=ConnectionLost),
    # HTTP: the framing of the body
    Fault(name="bad-chunk-size", play=_bad_chunk_size, error=ConnectionLost, framings=("chunked",)),
    Fault(name="chunk-too-long", play=_long_chunk, error=ConnectionLost, delivered="some", framings=("chunked",)),
    Fault(name="length-and-chunked", play=_length_and_chunked, error=None, delivered="all", framings=("chunked",)),
    Fault(name="two-lengths", play=_two_lengths, error=ConnectionLost, framings=("length",)),
    Fault(name="length-too-small", play=_length_too_small, error=TruncatedResponse, framings=("length",)),
    Fault(name="length-too-large", play=_length_too_large, error=None, delivered="all", framings=("length",)),
    # Content-Encoding
    Fault(name="gzip", play=_encoded("gzip", gzip.compress), error=None, delivered="all"),
    Fault(name="gzip-cut", play=_encoded("gzip", _without_trailer), error=TruncatedResponse, delivered="some"),
    Fault(name="gzip-not", play=_encoded("gzip", bytes), error=TruncatedResponse),
    Fault(name="gzip-bomb", play=_encoded("gzip", lambda _: _bomb()), error=LimitExceeded, final=True),
    Fault(name="gzip-thrice", play=_encoded("gzip, gzip, gzip", bytes), error=NotARad69Response, final=True),
    Fault(name="brotli", play=_encoded("br", bytes), error=NotARad69Response, final=True),
    # not RAD-69
    Fault(
        name="login-page",
        play=_status("200 OK", body=_LOGIN_PAGE, content_type="text/html"),
        error=NotARad69Response,
        final=True,
    ),
    Fault(name="no-content-type", play=_content_type(""), error=NotARad69Response, final=True),
    Fault(name="empty-soap", play=_xml(lambda _: b""), error=NotARad69Response, final=True),
    # SOAP
    Fault(name="fault-12-receiver", play=_xml(lambda _: fault_12("Receiver"), "500 Oops"), error=SoapFault),
    Fault(name="fault-11-server", play=_xml(lambda _: fault_11("Server"), "500 Oops"), error=SoapFault),
    Fault(
        name="fault-12-sender", play=_xml(lambda _: fault_12("Sender"), "400 Bad Request"), error=SoapFault, final=True
    ),
    Fault(name="fault-11-client", play=_xml(lambda _: fault_11("Client"), "500 Oops"), error=SoapFault, final=True),
    Fault(name="fault-endless", play=_endless_fault, error=LimitExceeded),
    Fault(name="fault-in-multipart", play=_root(lambda _: fault_12("Receiver")), error=SoapFault),
    Fault(name="success-without-documents", play=_xml(_empty_answer), error=None),
    Fault(name="failure-missing", play=_xml(_refusal("XDSMissingDocument")), error=XDSMissingDocumentError, final=True),
    Fault(name="failure-busy", play=_xml(_refusal("XDSRepositoryBusy")), error=XDSBusyError),
    Fault(name="failure-too-many", play=_xml(_refusal("XDSTooManyResults")), error=XDSTooMuchError),
    Fault(
        name="success-with-errors",
        play=_xml(_refusal("XDSMissingDocument", status=SUCCESS)),
        error=XDSMissingDocumentError,
        final=True,
    ),
    Fault(name="failure-in-multipart", play=_failure_in_multipart, error=XDSBusyError),
    Fault(name="partial-success", play=_partial, error=XDSMissingDocumentError, delivered="others", final=True),
    Fault(name="fewer-than-asked", play=_fewer, error=None, delivered="others"),
    Fault(name="promised-and-absent", play=_promised, error=TruncatedResponse, delivered="others"),
    Fault(name="relates-to-another", play=_written(relates_to="urn:uuid:0"), error=SoapError),
    Fault(name="relates-to-nothing", play=_written(relates_to=""), error=None, delivered="all"),
    Fault(name="doctype", play=_root(_dtd), error=SoapError),
    Fault(name="deep-xml", play=_root(_deep), error=LimitExceeded, final=True),
    Fault(name="unknown-encoding", play=_root(_unknown_encoding), error=SoapError),
    Fault(name="cut-xml", play=_root(_cut_xml), error=SoapError),
    Fault(name="not-an-envelope", play=_root(lambda _: b"<x/>"), error=SoapError),
    Fault(
        name="large-root",
        play=_root(_large_root),
        error=LimitExceeded,
        final=True,
        options={"limits": Limits(max_root=100_000)},
    ),
    # MIME
    Fault(name="empty-multipart", play=_empty_multipart, error=TruncatedResponse),
    Fault(
        name="long-boundary",
        play=_content_type(f'multipart/related; boundary="{"x" * 1025}"'),
        error=LimitExceeded,
        final=True,
    ),
    Fault(name="no-boundary", play=_content_type("multipart/related"), error=None, delivered="all"),
    Fault(name="wrong-boundary", play=_content_type("multipart/related; boundary=other"), error=MultipartError),
    Fault(
        name="single-quoted-boundary",
        play=_content_type("multipart/related; boundary='uuid:6f1c2a-9'"),
        error=MultipartError,
    ),
    Fault(
        name="unquoted-boundary",
        play=_content_type("multipart/related; boundary=uuid:6f1c2a-9"),
        error=None,
        delivered="all",
    ),
    Fault(name="root-last", play=_written(root_last=True), error=None, delivered="all"),
    Fault(
        name="start-elsewhere",
        play=_content_type(f'multipart/related; start="<no@where>"; boundary="{_MARK.decode()}"'),
        error=None,
        delivered="all",
    ),
    Fault(name="preamble", play=_written(preamble=b"This is MIME.\r\n"), error=None, delivered="all"),
    Fault(name="preamble-1-mb", play=_written(preamble=b"x" * (1 << 20) + b"\r\n"), error=LimitExceeded, final=True),
    Fault(name="preamble-endless", play=_endless_after("delimiter root", b"x" * 8000), error=LimitExceeded, final=True),
    Fault(name="epilogue-endless", play=_endless_after("epilogue", b"\r\n" * 4000), error=None, delivered="all"),
    Fault(name="transport-padding", play=_written(padding=b" \t"), error=None, delivered="all"),
    Fault(name="lf-only", play=_written(line_end=b"\n"), error=None, delivered="all"),
    Fault(name="40-part-headers", play=_written(part_headers=(b"X-Padding: 1",) * 40), error=None, delivered="all"),
    Fault(
        name="100-part-headers", play=_written(part_headers=(b"X-Padding: 1",) * 100), error=LimitExceeded, final=True
    ),
    Fault(
        name="long-part-header",
        play=_written(part_headers=(b"X-Padding: " + b"x" * 20_000,)),
        error=LimitExceeded,
        final=True,
    ),
    Fault(
        name="latin-1-part-header",
        play=_written(part_headers=(b"Content-Description: Sch\xe4del",)),
        error=None,
        delivered="all",
    ),
    Fault(name="dotted-part-header", play=_written(part_headers=(b"X.Y: 1",)), error=None, delivered="all"),
    Fault(name="header-without-colon", play=_written(part_headers=(b"no colon",)), error=MultipartError),
    Fault(
        name="part-endless",
        play=_endless_after("data 1", b"x" * 8000),
        error=LimitExceeded,
        options={"limits": Limits(max_part=200_000)},
    ),
    Fault(
        name="parts-endless",
        play=_endless_after("delimiter 1", b"\r\n--" + _MARK + b"\r\n\r\n"),
        error=LimitExceeded,
        final=True,
    ),
    Fault(name="same-instance-twice", play=_repeated(0), error=None, delivered="all"),
    Fault(name="same-uid-other-bytes", play=_repeated(255), error=None, delivered="all"),
    # DICOM
    Fault(name="html-part", play=_document(lambda *_: _LOGIN_PAGE), error=InvalidInstanceError, delivered="others"),
    Fault(name="empty-part", play=_document(lambda *_: b""), error=InvalidInstanceError, delivered="others"),
    Fault(name="instance-cut", play=_document(_short), error=InvalidInstanceError, delivered="others"),
    Fault(name="instance-with-tail", play=_document(_trailing), error=InvalidInstanceError, delivered="others"),
    Fault(name="stranger", play=_document(_stranger), error=InvalidInstanceError, delivered="others"),
    Fault(name="other-study", play=_document(_other_study), error=InvalidInstanceError, delivered="others"),
    Fault(name="deflate-bomb", play=_document(_bomb_instance), error=InstanceLimitExceeded, delivered="others"),
    Fault(name="nested-sequences", play=_document(_nested_instance), error=InstanceLimitExceeded, delivered="others"),
    Fault(
        name="delimiter-in-pixels", play=_in_pixels(b"\r\n--" + _MARK + b"\r\n"), error=ProtocolError, delivered="some"
    ),
)

#: Pixel data that only looks like a delimiter: as good as any other, and so delivered byte for byte.
LOOKALIKES = (
    b"--" + _MARK,
    b"\r\n--" + _MARK + b"XY",
    b"\r\n--" + _MARK + b"-",
    b"\r\r\n--" + _MARK[:-1],
    b"\n--" + _MARK + b"\r\n",
)
