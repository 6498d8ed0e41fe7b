"""
multipart/related bytes in, parts out (RFC 2046, RFC 2387). No I/O.

Built on `multipart.PushMultipartParser` and its vocabulary of segments, limits and errors. The hook it documents,
``_create_segment``, is overridden because its own is for form-data; ``parse`` and the reading of header lines are
replaced, for what real sources write and the RFC allows or leaves open:

- transport padding after a boundary, and a line that only begins like a delimiter (it is data);
- LF line ends, throughout or in the headers alone, with the same result however the bytes are cut;
- the first delimiter at the start of any line, so that a text preamble costs no part;
- a part without a body, whose blank line is also the CRLF of the next delimiter;
- header names and values beyond ASCII, trailing blanks, many and long headers, and a Content-Length inside a part
  that is wrong: nothing in MIME gives it a meaning there;
- limits on preamble and header block, and an end: what follows the closing delimiter is not read.

The only room that knows multipart.
"""

from __future__ import annotations

import re
import sys
from email.message import Message
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import multipart

from ._errors import LimitExceeded, MultipartError, Rad69Error, TruncatedResponse

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from ._limits import Limits


def _require_push_parser(package: object) -> None:
    """Old releases of python-multipart install a module of the same name."""
    if not hasattr(package, "PushMultipartParser"):
        raise ImportError(
            "'multipart' is not the package asyncrad69 needs, but another of that name (from an old "
            "python-multipart). Run: pip install --upgrade python-multipart && pip install --force-reinstall multipart"
        )


_require_push_parser(multipart)

_MAX_PADDING = 256  # transport padding: gateways pad by a few characters, if at all


class Segment(multipart.MultipartSegment):
    """
    The head of one body part; names are in title case, and of a repeated header the first counts.

    Attributes:
        content_type: Its Content-Type without parameters, in lower case; ``None`` without one.
        charset: The charset parameter of its Content-Type.
        content_id: Its Content-ID without angle brackets, as written; ``None`` without one.
        transfer_encoding: Its Content-Transfer-Encoding in lower case, ``binary`` by default.
    """

    def __init__(self, headerlist: list[tuple[str, str]]) -> None:
        super().__init__([])  # whose own reading of the list is for form-data
        self.headerlist = headerlist
        media_type, parameters = content_type(self.header("Content-Type", ""))
        self.content_type = media_type or None
        self.charset = parameters.get("charset")
        self.content_id: str | None = self.header("Content-Id", "").strip("<> \t") or None
        self.transfer_encoding: str = self.header("Content-Transfer-Encoding", "binary").strip().lower()


#: A part's head, then its bytes in pieces, then ``None``.
Event: TypeAlias = Segment | bytes | memoryview | None


@lru_cache(maxsize=16)  # the parts of a reply have the same, and it takes longer to read than all else of their heads
def content_type(header: str) -> tuple[str, Mapping[str, str]]:
    """
    A Content-Type as its media type in lower case and its parameters by name in lower case.

    multipart's own reader ends an unquoted value at the first tspecial, which cuts the boundaries of JavaMail
    (``----=_Part_1``) and others; the standard library's does not.
    """
    message = Message()
    message["Content-Type"] = header
    try:
        (media_type, _), *parameters = message.get_params(failobj=[("", "")])
    except (TypeError, ValueError):  # contradicting RFC 2231 continuations: a boundary can still be read off the body
        return header.partition(";")[0].strip().lower(), {}
    return media_type.strip().lower(), {
        # RFC 2231 values come as charset, language and text.
        name.lower(): value[2] if isinstance(value, tuple) else value
        for name, value in reversed(parameters)
        if name
    }


def shown(media_type: str) -> str:
    """A media type for people; a server may have written anything in its place."""
    return media_type if _PRINTABLE_TYPE.fullmatch(media_type) else "of no known media type"


_PRINTABLE_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,80}", re.ASCII)


class MultipartDecoder:
    """
    The parts of one multipart body.

    Feed it the body as it comes and `finish` it at the end. The events are the same however the bytes are cut;
    only the pieces a part comes in differ. Pieces are views into what was fed: take them before the next feed.

    Args:
        boundary: The boundary parameter; ``None`` reads it off the first line, for a source that names none.
        limits: What to read at most; `Limits.of_reply`.

    Raises:
        MultipartError, LimitExceeded: The boundary is empty, or too long.
    """

    def __init__(self, boundary: str | None, limits: Limits) -> None:
        self._limits = limits
        self._parser: _RelatedParser | None = None
        self._head = b""
        if boundary is not None:
            self._parser = self._make_parser(boundary.encode("utf-8", "surrogateescape"))

    @property
    def complete(self) -> bool:
        """Whether the closing delimiter has been seen. What is fed after it is ignored."""
        return self._parser is not None and self._parser.closed

    def feed(self, data: bytes) -> Iterator[Event]:
        """
        Decode *data*, the next bytes of the body.

        Raises:
            MultipartError: The framing is broken.
            LimitExceeded: A limit is passed.
        """
        if self._parser is None:
            data = self._sniff(self._head + data)
        if self._parser is not None and data and not self._parser.closed:
            yield from _translated(self._parser.parse(data))

    def finish(self) -> None:
        """
        Say that there is no more.

        Raises:
            TruncatedResponse: The closing delimiter has not been seen.
        """
        if not self.complete:
            where = self._parser.where if self._parser else "before the first delimiter"
            raise TruncatedResponse(f"the reply ended {where}, without its closing delimiter")

    def _sniff(self, data: bytes) -> bytes:
        """Find the boundary in the first line that is not blank; keep *data* until that is there."""
        start = data.lstrip(b"\r\n")
        if len(data) - len(start) > self._limits.max_preamble:
            raise _exceeded("max_preamble", self._limits.max_preamble)
        line, end, _ = start.partition(b"\n")
        is_long = len(line) > self._limits.max_boundary + _MAX_PADDING
        if not end and not is_long:
            self._head = data
            return b""
        if not line.startswith(b"--"):
            raise MultipartError("the reply names no boundary, and does not begin with a delimiter")
        if is_long:
            raise _exceeded("max_boundary", self._limits.max_boundary)
        self._parser = self._make_parser(line[2:].rstrip(b" \t\r"))
        return data

    def _make_parser(self, boundary: bytes) -> _RelatedParser:
        if not boundary:
            raise MultipartError("the boundary is empty")
        if len(boundary) > self._limits.max_boundary:
            raise _exceeded("max_boundary", self._limits.max_boundary)
        try:
            return _RelatedParser(boundary, self._limits)
        except multipart.MultipartError as exc:
            raise _translate(exc) from exc


# --- the parser ----------------------------------------------------------------------------------------


class _LimitReached(multipart.ParserLimitReached):
    """multipart's own error, with the name of the limit."""

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"more than {limit} ({maximum})")
        self.limit = limit
        self.maximum = maximum


def _translated(events: Iterator[Event]) -> Iterator[Event]:
    try:
        yield from events
    except multipart.MultipartError as exc:
        raise _translate(exc) from exc


def _translate(exc: multipart.MultipartError) -> Rad69Error:
    if isinstance(exc, _LimitReached):
        return _exceeded(exc.limit, exc.maximum)
    return MultipartError(f"the multipart framing is broken: {exc}")


def _exceeded(limit: str, maximum: int) -> LimitExceeded:
    return LimitExceeded(f"the reply has more than {maximum} in {limit}", limit=limit, maximum=maximum)


_PREAMBLE: Final = "in the preamble"
_HEADER: Final = "in the headers of part"
_BODY_START: Final = "at the start of part"
_BODY: Final = "inside part"
_COMPLETE: Final = "after the closing delimiter"

# What a line that begins with the boundary turns out to be.
_DELIMITER: Final = "delimiter"
_CLOSING: Final = "closing delimiter"
_DATA: Final = "data"
_UNDECIDED: Final = "undecided"


class _RelatedParser(multipart.PushMultipartParser):
    """See the module: what is replaced, and why."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        super().__init__(
            boundary,
            max_header_size=limits.max_header_line,
            max_header_count=limits.max_header_count,
            max_segment_count=sys.maxsize if limits.max_parts is None else limits.max_parts,
            header_charset="latin-1",
        )
        self._limits = limits
        self._dash_boundary = b"--" + boundary
        # RFC 2046 5.1.1: the CRLF before the delimiter belongs to the delimiter, not to the part.
        self._eol = b"\r\n"
        self._where = _PREAMBLE
        self._parts = 0
        self._rest = b""
        self._at_line_start = True
        self._preamble_size = 0
        self._header_lines: list[bytes] = []
        self._headers_size = 0

    @property
    def where(self) -> str:
        """Where in the body the parser stands, for people."""
        numbered = self._where not in {_PREAMBLE, _COMPLETE}
        return f"{self._where} {self._parts}" if numbered else self._where

    def parse(self, chunk: bytes) -> Generator[Event, None, None]:  # type: ignore[override]  # views, not copies
        """Parse *chunk*; the events are described at `Event`."""
        buffer = self._rest + chunk if self._rest else chunk
        offset, more = 0, False
        while self._where != _COMPLETE and not more:
            if self._where == _PREAMBLE:
                offset, more = self._read_preamble(buffer, offset)
            elif self._where == _HEADER:
                offset, more = yield from self._read_header_line(buffer, offset)
            elif self._where == _BODY_START:
                offset, more = yield from self._read_body_start(buffer, offset)
            else:
                offset, more = yield from self._read_body(buffer, offset)
        self._rest = buffer[offset:] if self._where != _COMPLETE else b""

    # Each reader returns where it stopped, and whether it needs more bytes to go on.

    def _read_preamble(self, buffer: bytes, offset: int) -> tuple[int, bool]:
        search = offset
        while (index := buffer.find(self._dash_boundary, search)) != -1:
            at_line_start = buffer[index - 1] == 0x0A if index > offset else self._at_line_start
            kind, end = self._classify(buffer, index) if at_line_start else (_DATA, index)
            if kind == _UNDECIDED:
                return self._skip_preamble(buffer, offset, index), True
            if kind != _DATA:
                self._skip_preamble(buffer, offset, index)
                self._eol = b"\r\n" if kind == _CLOSING or buffer[end - 2 : end] == b"\r\n" else b"\n"
                self._enter(kind)
                return end, False
            search = index + 1
        # Keep what may be the beginning of a delimiter.
        keep = max(offset, len(buffer) - len(self._dash_boundary) + 1)
        return self._skip_preamble(buffer, offset, keep), True

    def _skip_preamble(self, buffer: bytes, offset: int, end: int) -> int:
        if end > offset:
            self._at_line_start = buffer[end - 1] == 0x0A
            self._preamble_size += end - offset
            self._check("max_preamble", self._preamble_size)
        return end

    def _read_header_line(self, buffer: bytes, offset: int) -> Generator[Event, None, tuple[int, bool]]:
        if buffer.startswith(self._dash_boundary, offset):
            # RFC 2046 5.1.1: a body part may be its headers alone.
            kind, after = self._classify(buffer, offset)
            if kind == _UNDECIDED:
                return offset, True
            if kind != _DATA:
                yield self._begin_segment()
                yield None
                self._enter(kind)
                return after, False
        end = buffer.find(b"\n", offset)
        self._check("max_header_line", (len(buffer) if end == -1 else end) - offset)
        if end == -1:
            return offset, True
        line, after = buffer[offset:end].removesuffix(b"\r"), end + 1
        if not line:
            yield self._begin_segment()
            self._where = _BODY_START
            return after, False
        self._headers_size += len(line)
        self._check("max_headers", self._headers_size)
        self._header_lines.append(line)
        self._check("max_header_count", len(self._header_lines))
        return after, False

    def _read_body_start(self, buffer: bytes, offset: int) -> Generator[Event, None, tuple[int, bool]]:
        """The blank line after the headers is also the line end before a delimiter that follows at once."""
        head = buffer[offset : offset + len(self._dash_boundary)]
        if self._dash_boundary.startswith(head):
            kind, end = self._classify(buffer, offset) if len(head) == len(self._dash_boundary) else (_UNDECIDED, 0)
            if kind == _UNDECIDED:
                return offset, True
            if kind != _DATA:
                yield None
                self._enter(kind)
                return end, False
        self._where = _BODY
        return offset, False

    def _read_body(self, buffer: bytes, offset: int) -> Generator[Event, None, tuple[int, bool]]:
        delimiter = self._eol + self._dash_boundary
        search = offset
        while (index := buffer.find(delimiter, search)) != -1:
            kind, end = self._classify(buffer, index + len(self._eol))
            if kind == _DATA:
                search = index + 1
                continue
            if index > offset:
                yield _view(buffer, offset, index)
            if kind == _UNDECIDED:
                return index, True
            yield None
            self._enter(kind)
            return end, False
        end = self._possible_delimiter(buffer, delimiter, offset)
        if end > offset:
            yield _view(buffer, offset, end)
        return end, True

    @staticmethod
    def _possible_delimiter(buffer: bytes, delimiter: bytes, offset: int) -> int:
        """Where the tail of the buffer begins that the next bytes may turn into a delimiter."""
        start = max(offset, len(buffer) - len(delimiter) + 1)
        while (index := buffer.find(delimiter[:1], start)) != -1:
            if delimiter.startswith(buffer[index:]):
                return index
            start = index + 1
        return len(buffer)

    def _classify(self, buffer: bytes, index: int) -> tuple[str, int]:
        """What the line is that begins with the boundary at *index*, and where the bytes after it begin."""
        start = index + len(self._dash_boundary)
        tail = buffer[start : start + 2]
        if tail == b"--":
            # Nothing need follow: several writers end here, and the connection may stay open.
            return _CLOSING, start + 2
        if tail in {b"", b"-", b"\r"}:
            return _UNDECIDED, index
        end = buffer.find(b"\n", start, start + _MAX_PADDING)
        padding = buffer[start : end if end != -1 else start + _MAX_PADDING]
        if padding.removesuffix(b"\r").strip(b" \t"):
            return _DATA, index  # RFC 2046 5.1.1: only linear white space may follow the boundary on its line
        if end == -1:
            return (_UNDECIDED if len(padding) < _MAX_PADDING else _DATA), index
        return _DELIMITER, end + 1

    def _enter(self, kind: str) -> None:
        """Go on behind a delimiter."""
        if kind == _CLOSING:
            self._where = _COMPLETE
            self.closed = True
            return
        self._parts += 1
        if self._limits.max_parts is not None:
            self._check("max_parts", self._parts)
        self._where = _HEADER
        self._header_lines, self._headers_size = [], 0

    def _begin_segment(self) -> Segment:
        return self._create_segment(list(self._unfolded()))

    def _unfolded(self) -> Iterator[tuple[str, str]]:
        # RFC 5322 2.2.3: a line that begins with white space continues the one before.
        unfolded: list[bytes] = []
        for line in self._header_lines:
            if line[:1] in {b" ", b"\t"} and unfolded:
                unfolded[-1] += line
            else:
                unfolded.append(line)
        for line in unfolded:
            name, colon, value = line.partition(b":")
            if not colon:
                raise multipart.ParserError(f"a header line of part {self._parts} has no colon")
            yield name.decode("latin-1").strip().title(), value.decode("latin-1").strip()

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> Segment:
        return Segment(headerlist)

    def _check(self, limit: str, value: int) -> None:
        maximum: int = getattr(self._limits, limit)
        if value > maximum:
            raise _LimitReached(limit, maximum)


def _view(buffer: bytes, start: int, end: int) -> bytes | memoryview:
    return buffer if start == 0 and end == len(buffer) else memoryview(buffer)[start:end]
