"""Properties of the protocol: how bytes are cut never matters, and what is encoded is decoded."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import os
import zlib
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings, strategies as st

from asyncrad69 import Limits, Rad69Error
from asyncrad69._content_encoding import content_decoder
from asyncrad69._multipart import MultipartDecoder, Segment, content_type
from asyncrad69._walk import examine
from replies import IHE_STATUS, STACKS, Sent, Stack, Written, error, fault_12, read, simple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCALE = 100 if os.environ.get("RAD69_TEST_SCALE") == "full" else 1


def examples(number: int) -> settings:
    """So many examples, or a hundred times as many with RAD69_TEST_SCALE=full."""
    return settings(max_examples=number * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow])


#: What a delimiter is made of, and what resembles it.
TOKENS = [
    b"\r\n",
    b"\r",
    b"\n",
    b"--",
    b"-",
    b"B",
    b"--B",
    b"\r\n--B",
    b"\r\n--B--",
    b"\n--B\n",
    b" ",
    b"\t",
    b"x",
    b": ",
    b"\0",
]
HEADS = [
    b"A: b\r\n",
    b"Content-Type: application/xop+xml\r\n",
    b"Content-ID: <a@b>\r\n",
    b" folded\r\n",
    b"no colon\r\n",
]

token_soup = st.lists(st.sampled_from([*TOKENS, *HEADS]), max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    """*body* cut at *places*."""
    marks = sorted({min(place, len(body)) for place in places} | {0, len(body)})
    return [body[start:end] for start, end in itertools.pairwise(marks)]


def decode(pieces: Sequence[bytes], boundary: str | None) -> tuple[object, ...]:
    """The parts that came to their end, how many began, and what ended the reading."""
    parts: list[list[object]] = []
    ended = 0
    limits = Limits(
        max_preamble=60, max_header_line=40, max_header_count=3, max_headers=60, max_parts=6, max_boundary=20
    )
    decoder = MultipartDecoder(boundary, limits)
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                if isinstance(event, Segment):
                    parts.append([event.headerlist, b""])
                elif event is None:
                    ended += 1
                else:
                    parts[-1][1] = bytes(event) if parts[-1][1] == b"" else parts[-1][1] + event  # type: ignore[operator]
        decoder.finish()
    except Rad69Error as exc:
        return parts[:ended], len(parts), type(exc), str(exc)
    return parts, ended, None, None


@examples(600)
@given(token_soup, st.booleans(), cuts, st.sampled_from(["B", None]))
def test_the_cuts_do_not_matter_to_the_decoder(
    soup: bytes, begun: bool, places: list[int], boundary: str | None
) -> None:
    """Any bytes, well-formed or not, in any pieces: the same parts, the same error, word for word."""
    body = b"--B\r\n" * begun + soup
    whole = decode([body], boundary)
    assert decode(cut(body, places), boundary) == whole
    assert decode([body[i : i + 1] for i in range(len(body))], boundary) == whole


def delimited(bodies: Sequence[bytes]) -> bytes:
    """A multipart body, to the letter of RFC 2046."""
    return b"".join(b"--B\r\nA: b\r\n\r\n" + body + b"\r\n" for body in bodies) + b"--B--"


@examples(400)
@given(st.lists(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join), max_size=5), cuts)
def test_what_is_encoded_is_decoded(bodies: list[bytes], places: list[int]) -> None:
    """Bodies made of pieces of delimiters come back to the byte, where no delimiter is in them."""
    bodies = [body.replace(b"--B", b"--C") for body in bodies]
    parts, ended, error_class, _ = decode(cut(delimited(bodies), places), "B")
    assert error_class is None
    assert isinstance(parts, list)
    assert [data for _, data in parts] == bodies
    assert ended == len(bodies)


documents = st.lists(st.binary(max_size=900) | st.lists(st.sampled_from(TOKENS)).map(b"".join), max_size=4)


def sent(data: Sequence[bytes]) -> list[Sent]:
    """Documents of *data*."""
    return [Sent(f"1.{number}", each) for number, each in enumerate(data)]


@examples(150)
@given(documents, st.sampled_from(list(STACKS.values())), st.lists(st.integers(0, 6000), max_size=12))
def test_every_stack_in_any_pieces(data: list[bytes], stack: Stack, places: list[int]) -> None:
    """Any documents, by any writer, in any pieces, come to the byte."""
    written = stack.write(sent(data))
    result = read(written, cuts=cut(written.body, places))
    assert result.error is None
    # An empty document that is put inside the XML is no document: base64 of nothing is nothing.
    assert result.documents == {each.uid: each.data for each in sent(data) if each.data or stack.inlines_up_to < 0}


BASES = [
    *(
        stack.write(sent([b"one\r\n--", b"two"]), status=IHE_STATUS + "PartialSuccess", errors=[error("X")])
        for stack in STACKS.values()
    ),
    STACKS["cxf"].write(root=fault_12(), http_status=500),
    simple(fault_12(), http_status=500),
    dataclasses.replace(STACKS["cxf"].write(sent([b"one"])), content_type="multipart/related"),
]

#: Where, how many bytes to take out, and what to put in.
mutations = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 40), st.sampled_from([*TOKENS, b"<", b">", b"&", b"base64", b"=", b"\xff", b""])
    ),
    max_size=4,
)


@examples(400)
@given(st.sampled_from(BASES), mutations, st.lists(st.integers(0, 3000), max_size=12))
def test_the_cuts_do_not_matter_to_the_reply(
    base: Written, changes: list[tuple[float, int, bytes]], places: list[int]
) -> None:
    """A reply with a few bytes changed, in any pieces: the same gist, and no error but ours."""
    body = base.body
    for where, removed, added in changes:
        start = int(where * len(body))
        body = body[:start] + added + body[start + removed :]
    written = dataclasses.replace(base, body=body)
    assert read(written, cuts=cut(body, places)).gist == read(written).gist


@examples(100)
@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["; ", "a", "=", '"', "*", "*0", "*1*", "boundary", "%", "''", "\\", "B"])).map("".join)
)
def test_any_content_type_is_read(header: str) -> None:
    """No header is a crash, neither read nor used as a reply's."""
    media_type, parameters = content_type(header)
    assert media_type == media_type.lower()
    assert all(isinstance(value, str) for value in parameters.values())
    for value in (header, "multipart/related; " + header):
        read(Written(value, b"--B\r\n\r\n1\r\n--B--"))


def inflated(data: bytes, pieces: Sequence[bytes], encoding: str) -> tuple[bytes, type[Exception] | None]:
    """What came out, and what ended it."""
    out = b""
    decoder = content_decoder(encoding, max_inflation=200)
    try:
        for piece in pieces:
            for each in decoder.feed(piece):
                out += each
        decoder.finish()
    except Rad69Error as exc:
        return b"", type(exc)
    return out, None


@examples(150)
@given(
    st.binary(max_size=300),
    cuts,
    st.sampled_from(["gzip", "deflate"]),
    st.none() | st.tuples(st.integers(0, 300), st.integers(0, 255)),
)
def test_the_cuts_do_not_matter_to_the_content_encoding(
    data: bytes, places: list[int], encoding: str, change: tuple[int, int] | None
) -> None:
    """Compressed bytes, whole or with one changed, in any pieces: the same bytes, or the same error."""
    body = bytearray(gzip.compress(data, mtime=0) if encoding == "gzip" else zlib.compress(data))
    if change is not None:
        body[change[0] % len(body)] = change[1]
    whole = inflated(data, [bytes(body)], encoding)
    assert inflated(data, cut(bytes(body), places), encoding) == whole
    if change is None:
        assert whole == (data, None)


HEAD = bytes(128) + b"DICM\x02\x00\x10\x00UI"


@examples(300)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"\x08\0\x18\0UI",
                b"\x10\0",
                b"SQ\0\0",
                b"\xff" * 4,
                b"\xfe\xff\0\xe0",
                b"\xfe\xff\x0d\xe0",
                b"\xfe\xff\xdd\xe0",
                b"\0" * 4,
            ]
        )
    ).map(b"".join)
)
def test_any_bytes_are_examined(tail: bytes) -> None:
    """The walk ends and never raises, in every encoding."""
    for uid in (b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1.99"):
        facts = examine(HEAD + len(uid).to_bytes(2, "little") + uid + tail)
        assert facts.transfer_syntax_uid == uid.rstrip(b"\0").decode()
