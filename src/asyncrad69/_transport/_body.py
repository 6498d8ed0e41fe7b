"""
Where the head and the body of an HTTP/1.1 response end, in the blocks they came in (RFC 9112). No I/O.

A block is decoded in one pass: its chunks are found by a regular expression and joined once, so that the cost is per
block and hardly per chunk. Servers write chunks of 4 to 8 KiB; a parser that makes an event of each spends more time
on them than the kernel does on the bytes.

Messages never quote the wire: what stands where a chunk header should be is, more often than not, a patient's data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF. Sixteen digits are 64 bits; h11 takes twenty.
_FIRST_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_NEXT_CHUNK: Final = re.compile(rb"\r\n" + _FIRST_CHUNK.pattern)
# RFC 9112 2.2: a single LF may be taken for a line end. h11 does so in trailers, though not in chunk headers.
_TRAILER_LINE: Final = re.compile(rb"([^\r\n]*)[^\n]*\n")

# Bytes: one chunk header, or all trailers; and all heads of a reply, interim ones included. What h11 allows a head by
# default, and what httpcore does.
_MAX_FRAMING_SIZE: Final = 16 * 1024
_MAX_HEAD_SIZE: Final = 100 * 1024

# RFC 9112 2.1 and 2.2: an empty line ends a head. The same expression as h11's, so that both see the same end.
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")

_INCOMPLETE: Final = "peer closed connection without sending complete message body"


class FramingTooLong(httpx.RemoteProtocolError):
    """A head, chunk header or trailer that goes on for longer than any is."""

    def __init__(self, maximum: int) -> None:
        super().__init__(f"more than {maximum} bytes of HTTP framing")
        self.maximum = maximum


class HeadEnd:
    """Finds the end of each head in a sequence of them: informational (1xx) ones, then the final one."""

    def __init__(self) -> None:
        self._size = 0
        self._tail = b""  # the last bytes seen, which may begin the empty line; so no byte is searched over again

    def find(self, block: memoryview) -> int:
        """
        How many bytes at the start of a block still belong to the head at hand.

        Raises:
            FramingTooLong: All heads together are.
        """
        seen = self._tail + block
        empty_line = _EMPTY_LINE.search(seen)
        size = len(block) if empty_line is None else empty_line.end() - len(self._tail)
        self._tail = seen[-2:] if empty_line is None else b""
        self._size += size
        if self._size > _MAX_HEAD_SIZE:
            raise FramingTooLong(_MAX_HEAD_SIZE)
        return size


class Body(Protocol):
    """Where one body ends."""

    @property
    def complete(self) -> bool:
        """Whether its last byte has been decoded; what follows it is not part of the response."""

    def decode(self, block: memoryview) -> bytes:
        """
        The content in the next block; empty if it held only framing.

        Raises:
            httpx.RemoteProtocolError: The framing is broken.
        """

    def end(self) -> None:
        """
        The peer has closed the connection.

        Raises:
            httpx.RemoteProtocolError: It did so before the end of the body.
        """


def response_body(method: str, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Body:
    """
    How the body of a final response is delimited: the rules of RFC 9112, section 6.3, in their order.

    Raises:
        httpx.RemoteProtocolError: A transfer coding that was not asked for, or no single Content-Length.
    """
    if method == "HEAD" or status in {204, 304}:
        return SizedBody(0)
    fields = [(name.lower(), value.strip().lower()) for name, value in headers]
    if codings := [value for name, value in fields if name == b"transfer-encoding"]:
        return _coded_body(codings)
    if lengths := [value for name, value in fields if name == b"content-length"]:
        return SizedBody(_content_length(lengths))
    return UnsizedBody()


def _coded_body(codings: list[bytes]) -> ChunkedBody:
    # RFC 9112 6.1: a client must not be sent what it did not list in TE, and httpx lists nothing beyond chunked.
    if codings != [b"chunked"]:
        raise httpx.RemoteProtocolError("a Transfer-Encoding other than chunked")
    return ChunkedBody()


def _content_length(values: list[bytes]) -> int:
    # RFC 9112 6.3: a list of equal values, from one field or several, may be taken for that value.
    lengths = {length.strip() for value in values for length in value.split(b",")}
    if len(lengths) > 1:
        raise httpx.RemoteProtocolError("conflicting Content-Length headers")
    length = lengths.pop()
    if not re.fullmatch(rb"[0-9]{1,18}", length):
        raise httpx.RemoteProtocolError("bad Content-Length")
    return int(length)


class SizedBody:
    """A body of a known number of bytes, none included."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._received = 0

    @property
    def complete(self) -> bool:
        return self._received == self._size

    def decode(self, block: memoryview) -> bytes:
        content = bytes(block[: self._size - self._received])
        self._received += len(content)
        return content

    def end(self) -> None:
        if not self.complete:
            counts = f"(received {self._received} bytes, expected {self._size})"
            raise httpx.RemoteProtocolError(f"{_INCOMPLETE} {counts}")


class UnsizedBody:
    """A body that ends with the connection; that it is whole has to be proven from its content."""

    def __init__(self) -> None:
        self.complete = False

    def decode(self, block: memoryview) -> bytes:
        return bytes(block)

    def end(self) -> None:
        self.complete = True


class ChunkedBody:
    """A body in chunks. Chunk extensions and trailers are read and dropped, as RFC 9112 7.1 allows."""

    def __init__(self) -> None:
        self.complete = False
        self._framing = _FIRST_CHUNK  # what has to follow the data of the chunk at hand
        self._remaining = 0  # bytes of that chunk still to come
        self._last: tuple[bytes, int] | None = None  # the header of the chunk at hand, and its size
        self._cut = b""  # framing that the end of the last block cut
        self._trailers_size = 0

    def decode(self, block: memoryview) -> bytes:
        if self._cut:
            block = memoryview(self._cut + block)
            self._cut = b""
        pieces: list[memoryview] = []
        position = 0
        while not self.complete:
            piece = block[position : position + self._remaining]
            pieces.append(piece)
            position += len(piece)
            self._remaining -= len(piece)
            if self._remaining:
                break
            position = self._take_alike(block, position, pieces)
            match = self._framing.match(block, position)
            if match is None:
                self._cut = self._begun_framing(bytes(block[position:]))
                break
            position = match.end()
            self._accept(match)
        return b"".join(pieces)

    def end(self) -> None:
        if not self.complete:
            raise httpx.RemoteProtocolError(f"{_INCOMPLETE} (incomplete chunked read)")

    def _take_alike(self, block: memoryview, position: int, pieces: list[memoryview]) -> int:
        """Whole chunks with the same header as the one before: most are, and need not be parsed again."""
        if self._last is None:
            return position
        header, size = self._last
        start = position + len(header)
        while (end := start + size) <= len(block) and block[position:start] == header:
            pieces.append(block[start:end])
            position, start = end, end + len(header)
        return position

    def _accept(self, match: re.Match[bytes]) -> None:
        if self._framing is _TRAILER_LINE:
            self._trailers_size += len(match[0])
            self.complete = not match[1]
            return
        self._remaining = int(match[1], 16)
        self._last = (match[0], self._remaining) if self._remaining and self._framing is _NEXT_CHUNK else None
        # RFC 9112 7.1.2: the last chunk has size 0 and no data; trailers may follow, and an empty line ends them.
        self._framing = _NEXT_CHUNK if self._remaining else _TRAILER_LINE

    def _begun_framing(self, framing: bytes) -> bytes:
        """The framing, if more bytes can still make it whole."""
        if self._trailers_size + len(framing) > _MAX_FRAMING_SIZE:
            raise FramingTooLong(_MAX_FRAMING_SIZE)
        if self._framing is _NEXT_CHUNK and framing[:2] != b"\r\n"[: len(framing)]:
            raise httpx.RemoteProtocolError("malformed chunk footer: no CRLF after the data")
        header = framing[2:] if self._framing is _NEXT_CHUNK else framing
        if b"\n" in header:
            raise httpx.RemoteProtocolError("illegal chunk header")
        return framing
