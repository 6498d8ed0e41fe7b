"""The framing of HTTP/1.1 bodies: where a head and a body end, however the bytes are cut into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, strategies as st

from asyncrad69._transport._body import Body, HeadEnd, response_body

if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNKED = [(b"Transfer-Encoding", b"chunked")]
WHOLE = b'5\r\nhello\r\n6;ext="a;b"\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'


def decoded(body: Body, blocks: Iterable[bytes]) -> bytes:
    content = b""
    for block in blocks:
        content += body.decode(memoryview(block))
    return content


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(WHOLE)])
def test_chunks_are_joined_whatever_the_blocks(step: int) -> None:
    """Extensions and trailers are dropped and the data is kept, in one block or byte by byte."""
    body = response_body("POST", 200, CHUNKED)
    assert decoded(body, (WHOLE[at : at + step] for at in range(0, len(WHOLE), step))) == b"hello world"
    assert body.complete


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 30), min_size=1))
def test_any_chunking_in_any_blocks(chunks: list[bytes], steps: list[int]) -> None:
    """No division into chunks and blocks changes a byte, and the body is complete at its last byte only."""
    wire = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = response_body("POST", 200, CHUNKED)
    content, at, turn = b"", 0, 0
    while at < len(wire):
        assert not body.complete
        step = steps[turn % len(steps)]
        content += body.decode(memoryview(wire[at : at + step]))
        at, turn = at + step, turn + 1
    assert body.complete
    assert content == b"".join(chunks)


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_cut_chunked_body_is_an_error(size: int) -> None:
    """A connection that ends anywhere before the last byte is never taken for a whole body."""
    body = response_body("POST", 200, CHUNKED)
    assert b"hello world".startswith(decoded(body, [WHOLE[:size]]))
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        body.end()


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"5\nhello",
        b"\r\n5\r\n",
        b"5\r\nhelloXX",
        b"2\r\nabc\r\n",
        b"1" * 17 + b"\r\n",
        b"1;" + b"x" * 17000,
    ],
)
def test_broken_framing_is_an_error(wire: bytes) -> None:
    """What is no chunk header, or no end of a chunk, is refused, and never waited for without bound."""
    with pytest.raises(httpx.RemoteProtocolError):
        response_body("POST", 200, CHUNKED).decode(memoryview(wire))


def test_errors_do_not_quote_the_wire() -> None:
    """What stands where framing should be may be a patient's data, so no message holds it."""
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        response_body("POST", 200, CHUNKED).decode(memoryview(b"1\r\naDOE^JANE\r\n"))
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("POST", 304)])
def test_no_body_where_http_has_none(method: str, status: int) -> None:
    """Such a reply is complete at its head, whatever its headers say (RFC 9112 6.3)."""
    assert response_body(method, status, [*CHUNKED, (b"Content-Length", b"9")]).complete


@pytest.mark.parametrize("value", [b"3", b"3, 3"])
def test_a_sized_body_ends_at_its_size(value: bytes) -> None:
    """Bytes beyond Content-Length are not content, and fewer are an error."""
    body = response_body("POST", 200, [(b"content-length", value)])
    assert decoded(body, [b"a"]) == b"a"
    with pytest.raises(httpx.RemoteProtocolError, match="received 1 bytes, expected 3"):
        body.end()
    assert decoded(body, [b"bcd"]) == b"bc"
    assert body.complete


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Length", b"3"), (b"Content-Length", b"4")],
        [(b"Content-Length", b"+3")],
        [(b"Content-Length", b"")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
    ],
)
def test_a_doubtful_length_is_an_error(headers: list[tuple[bytes, bytes]]) -> None:
    """A reply whose end is not certain is refused before its body is read."""
    with pytest.raises(httpx.RemoteProtocolError):
        response_body("POST", 200, headers)


def test_an_unsized_body_ends_with_the_connection() -> None:
    """Without a length or chunks everything up to the end is content."""
    body = response_body("POST", 200, [])
    assert decoded(body, [b"a", b"b"]) == b"ab"
    body.end()
    assert body.complete


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_each_head_ends_at_its_empty_line(step: int) -> None:
    """An informational head and the final one are told apart from each other and from the body."""
    rest = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"
    heads: list[bytes] = []
    head_end, head = HeadEnd(), b""
    while len(heads) < 2:
        size = head_end.find(memoryview(rest[:step]))
        head, rest = head + rest[:size], rest[size:]
        if head.endswith(b"\r\n\r\n"):
            heads.append(head)
            head = b""
    assert [head[:12] for head in heads] == [b"HTTP/1.1 100", b"HTTP/1.1 200"]
    assert rest == b"body"
