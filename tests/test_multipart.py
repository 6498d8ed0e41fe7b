"""multipart/related bytes in, parts out: RFC 2046 to the letter, and what real writers do beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrad69 import Limits
from asyncrad69._errors import LimitExceeded, MultipartError, TruncatedResponse
from asyncrad69._multipart import MultipartDecoder, Segment, content_type

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A part: its headers as read, its bytes, whether it came to its end.
Part = tuple[list[tuple[str, str]], bytes, bool]

LIMITS: dict[str, int] = {
    "max_preamble": 300,
    "max_header_line": 200,
    "max_header_count": 4,
    "max_headers": 400,
    "max_parts": 9,
    "max_boundary": 70,
}


def decode(pieces: Iterable[bytes], boundary: str | None = "B", **limits: int) -> tuple[list[Part], str]:
    """The parts of a body, and how it ended: ``""`` or the error's class and text."""
    parts: list[Part] = []
    try:
        decoder = MultipartDecoder(boundary, Limits(**(LIMITS | limits)))
        for piece in pieces:
            for event in decoder.feed(piece):
                if isinstance(event, Segment):
                    parts.append((event.headerlist, b"", False))
                elif event is None:
                    parts[-1] = (*parts[-1][:2], True)
                else:
                    headers, data, _ = parts[-1]
                    parts[-1] = (headers, data + event, False)
        decoder.finish()
    except (MultipartError, LimitExceeded) as exc:
        return [part for part in parts if part[2]], f"{type(exc).__name__}: {exc}"
    return parts, ""


def decode_all_ways(body: bytes, boundary: str | None = "B", **limits: int) -> tuple[list[Part], str]:
    """Decode *body* whole, in every pair of pieces, byte by byte and with a tail: all must agree."""
    whole = decode([body], boundary, **limits)
    assert decode((body[i : i + 1] for i in range(len(body))), boundary, **limits) == whole
    for cut in range(1, len(body)):
        assert decode([body[:cut], body[cut:]], boundary, **limits) == whole, cut
    if not whole[1]:
        assert decode([body + b"\r\n--B\r\n\r\nTAIL\r\n--B--"], boundary, **limits) == whole
    return whole


def data_of(body: bytes, boundary: str | None = "B") -> list[bytes]:
    """The bytes of each part of a body that must be without a fault."""
    parts, error = decode_all_ways(body, boundary)
    assert error == ""
    return [data for _, data, _ in parts]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        pytest.param(b"--B\r\nA: b\r\n\r\n1\r\n--B--", [b"1"], id="no-line-end-after-the-closing-delimiter"),
        pytest.param(b"--B\r\nA: b\r\n\r\n1\r\n--B--\r\n", [b"1"], id="line-end-after-it"),
        pytest.param(b"--B\r\nA: b\r\n\r\n1\r\n--B--  \r\nepilogue\r\n--B\r\n", [b"1"], id="epilogue"),
        pytest.param(b"--B--", [], id="no-part"),
        pytest.param(b"\r\n--B\r\n\r\n1\r\n--B--", [b"1"], id="a-blank-line-first"),
        pytest.param(b"pre\r\n\r\namble--B\r\n--Bx\r\n--B\r\n\r\n1\r\n--B--", [b"1"], id="preamble"),
        pytest.param(b"pre\n--B\r\n\r\n1\r\n--B--", [b"1"], id="preamble-ending-in-LF"),
        pytest.param(b"--B \t\r\nA: b\r\n\r\n1\r\n--B\t\r\n\r\n2\r\n--B-- ", [b"1", b"2"], id="transport-padding"),
        pytest.param(b"--B\r\n\r\n\r\n--B\r\n\r\n\r\n\r\n--B--", [b"", b"\r\n"], id="empty-bodies"),
        pytest.param(b"--B\r\n\r\n--B\r\nA: b\r\n\r\n--B--", [b"", b""], id="no-bodies-blank-line-is-the-delimiters"),
        pytest.param(b"--B\r\nA: b\r\n--B\r\nC: d\r\n--B--", [b"", b""], id="headers-alone"),
        pytest.param(b"--B\r\nA: b\r\n--B \t\r\nC: d\r\n--B--\r\n", [b"", b""], id="headers-alone-padded"),
        pytest.param(b"--B\nA: b\n\n1\n2\r\n\n--B\n\n3\n--B--\n", [b"1\n2\r\n", b"3"], id="LF-throughout"),
        pytest.param(b"--B\r\nA: b\n\n1\n--B\n\r\n--B--", [b"1\n--B\n"], id="LF-in-the-headers-alone"),
        pytest.param(b"--B\r\n\r\n\r\n--Bx\r\n--B--x", [b"\r\n--Bx"], id="a-line-that-begins-like-a-delimiter"),
        pytest.param(b"--B\r\n\r\n--Bx\r\n--B--", [b"--Bx"], id="data-that-begins-like-a-delimiter"),
        pytest.param(b"--B\r\n\r\nx--B\r\n--B--", [b"x--B"], id="a-boundary-inside-a-line"),
        pytest.param(b"--B\r\n\r\n1\n--B\r\n--B--", [b"1\n--B"], id="a-boundary-after-LF-alone"),
        pytest.param(b"--B\r\n\r\n1\r\r\n--B--", [b"1\r"], id="data-ending-in-CR"),
        pytest.param(b"--B\r\n\r\n1\r\n\r\n--B--", [b"1\r\n"], id="data-ending-in-CRLF"),
        pytest.param(b"--B\r\n\r\n1\r\n--\r\n--B--", [b"1\r\n--"], id="data-ending-in-half-a-delimiter"),
        pytest.param(b"--B\r\n\r\n\r\n-\r\n--\r\n--B--", [b"\r\n-\r\n--"], id="data-of-delimiter-pieces"),
        pytest.param(
            b"--B\r\n\r\n1\r\n--B" + b" " * 256 + b"\r\n--B--", [b"1\r\n--B" + b" " * 256], id="padding-without-end"
        ),
        pytest.param(b"--B\r\n--Bx: y\r\n\r\n1\r\n--B--", [b"1"], id="a-header-that-begins-like-a-delimiter"),
    ],
)
def test_bodies_come_to_the_byte(body: bytes, data: list[bytes]) -> None:
    """RFC 2046 5.1.1: the CRLF before a delimiter is the delimiter's; anything else is the part's."""
    assert data_of(body) == data


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "in the preamble"),
        (b"text\r\n", "in the preamble"),
        (b"--B", "in the preamble"),
        (b"--B-", "in the preamble"),
        (b"x--B--", "in the preamble"),
        (b"--B\r\nA: b", "in the headers of part 1"),
        (b"--B\r\nA: b\r\n", "in the headers of part 1"),
        (b"--B\r\nA: b\r\n--B", "in the headers of part 1"),
        (b"--B\r\n\r\n", "at the start of part 1"),
        (b"--B\r\n\r\n--B-", "at the start of part 1"),
        (b"--B\r\n\r\n1", "inside part 1"),
        (b"--B\r\n\r\n1\r\n--B", "inside part 1"),
        (b"--B\r\n\r\n1\r\n--B-", "inside part 1"),
        (b"--B\r\n\r\n1\r\n--B\r\n", "in the headers of part 2"),
        (b"--B\r\n\r\n1\r\n--B\r\n\r\n2\r\n", "inside part 2"),
    ],
)
def test_an_end_too_early_says_where(body: bytes, error: str) -> None:
    """Without its closing delimiter a body is truncated, and the message says where it stopped."""
    parts, said = decode_all_ways(body)
    assert said == f"TruncatedResponse: the reply ended {error}, without its closing delimiter"
    assert all(ended for *_, ended in parts)


def test_headers_are_read_as_written() -> None:
    """Title case, unfolded, stripped, Latin-1 accepted, the first of a name counts, odd names kept."""
    head = (
        b"content-TYPE:  Application/DICOM; x=y ; charset=Z \r\nX.Y: \xe9\r\nContent-Id:\r\n <a@b>\t\r\nContent-ID: <c>"
    )
    decoder = MultipartDecoder("B", Limits(**(LIMITS | {"max_header_count": 5})))
    segment = next(decoder.feed(b"--B\r\n" + head + b"\r\n\r\n"))
    assert isinstance(segment, Segment)
    assert (segment.content_type, segment.charset, segment.content_id) == ("application/dicom", "Z", "a@b")
    assert segment.headerlist[1] == ("X.Y", "\xe9")
    assert segment.transfer_encoding == "binary"


def test_as_many_parts_as_come() -> None:
    """Where no limit is set."""
    body = b"--B\r\n\r\nx\r\n" * 1000 + b"--B--"
    assert sum(event is None for event in MultipartDecoder("B", Limits()).feed(body)) == 1000


def test_a_part_without_headers_has_the_defaults() -> None:
    """RFC 2046 5.1: no header is needed."""
    segment = next(MultipartDecoder("B", Limits(**LIMITS)).feed(b"--B\r\n\r\n"))
    assert isinstance(segment, Segment)
    assert (segment.content_type, segment.charset, segment.content_id, segment.transfer_encoding) == (
        None,
        None,
        None,
        "binary",
    )


def test_a_length_inside_a_part_means_nothing() -> None:
    """MIME knows no Content-Length: a wrong one does not cut the part."""
    assert data_of(b"--B\r\nContent-Length: 1\r\n\r\n12345\r\n--B\r\nContent-Length: 99\r\n\r\n2\r\n--B--") == [
        b"12345",
        b"2",
    ]


@pytest.mark.parametrize("head", [b"no colon", b" folded first", b"A: b\r\nno colon"])
def test_a_header_line_without_a_colon_is_an_error(head: bytes) -> None:
    """What is no header ends the reading."""
    parts, error = decode_all_ways(b"--B\r\n" + head + b"\r\n\r\n1\r\n--B--")
    assert parts == []
    assert error.startswith("MultipartError: the multipart framing is broken: a header line of part 1")


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"x" * 301 + b"\r\n--B--", "max_preamble"),
        (b"x" * 400, "max_preamble"),
        (b"--B\r\nA:" + b"x" * 300 + b"\r\n\r\n\r\n--B--", "max_header_line"),
        (b"--B\r\nA:" + b"x" * 300, "max_header_line"),
        (b"--B\r\n" + b"A: b\r\n" * 5 + b"\r\n\r\n--B--", "max_header_count"),
        (b"--B\r\n" + (b"A:" + b"x" * 150 + b"\r\n") * 3 + b"\r\n\r\n--B--", "max_headers"),
        (b"--B\r\n\r\n\r\n" * 10 + b"--B--", "max_parts"),
    ],
)
def test_a_limit_is_named(body: bytes, limit: str) -> None:
    """Each limit has its own error, the same however the bytes are cut."""
    error = decode_all_ways(body)[1]
    assert error.startswith(f"LimitExceeded: the reply has more than {LIMITS[limit]} in {limit}")


@pytest.mark.parametrize("body", [b"--B\r\n\r\n1\r\n--B--", b"\r\n\r\n--B \r\n\r\n1\r\n--B--", b"\n--B\n\n1\n--B--"])
def test_a_boundary_nobody_names_is_read_off_the_body(body: bytes) -> None:
    """CXF-2623: the first line that is not blank is the delimiter."""
    assert data_of(body, None) == [b"1"]


@pytest.mark.parametrize("body", [b"text\r\n--B\r\n\r\n1\r\n--B--", b"x" * 3000, b"--\r\n", b"x" * 3000 + b"\r\n"])
def test_a_boundary_that_cannot_be_read_is_an_error(body: bytes) -> None:
    """Neither named nor in the first line: not multipart."""
    assert decode_all_ways(body, None)[1].startswith("MultipartError: ")


@pytest.mark.parametrize(
    ("body", "boundary", "limit"),
    [
        (b"", "x" * 71, "max_boundary"),
        (b"--" + b"x" * 71 + b"\r\n", None, "max_boundary"),
        (b"--" + b"x" * 3000, None, "max_boundary"),
        (b"--B" + b" " * 3000 + b"\r\n", None, "max_boundary"),
        (b"\r\n" * 3000, None, "max_preamble"),
    ],
)
def test_a_boundary_has_its_limit(body: bytes, boundary: str | None, limit: str) -> None:
    """Named or read off the body, and however the bytes are cut."""
    error = decode_all_ways(body, boundary)[1]
    assert error.startswith(f"LimitExceeded: the reply has more than {LIMITS[limit]} in {limit}")


def test_an_empty_body_without_a_boundary_is_truncated() -> None:
    """Nothing came: cut before the first delimiter."""
    assert decode([], None)[1].startswith("TruncatedResponse: the reply ended before the first delimiter")


@pytest.mark.parametrize("boundary", ["", "a\r\nb"])
def test_an_impossible_boundary_is_an_error(boundary: str) -> None:
    """No bytes, or a line end in it."""
    assert decode([b"--B--"], boundary)[1].startswith("MultipartError: ")


def test_a_boundary_beyond_ascii_is_compared_by_its_bytes() -> None:
    """A header's bytes beyond ASCII reach us as UTF-8."""
    assert data_of("--é\r\n\r\n1\r\n--é--".encode(), "é") == [b"1"]


def test_after_the_closing_delimiter_nothing_is_read() -> None:
    """The decoder is complete at the two dashes, and stays so whatever comes."""
    decoder = MultipartDecoder("B", Limits(**LIMITS))
    assert not decoder.complete
    assert [*decoder.feed(b"--B--")] == []
    assert decoder.complete
    assert [*decoder.feed(b"\r\n--B\r\n\r\n1\r\n--B--")] == []
    decoder.finish()


def test_a_large_piece_is_not_copied() -> None:
    """The bytes of a part are a view of what was fed."""
    decoder = MultipartDecoder("B", Limits(**LIMITS))
    first = b"--B\r\n\r\n" + b"x" * 1000
    events: list[Any] = [*decoder.feed(first)]
    assert isinstance(events[1], memoryview)
    assert events[1].obj is first
    whole = b"y" * 1000
    assert next(iter(decoder.feed(whole))) is whole


def test_parameters_are_read_whole() -> None:
    """Names in lower case, quoted pairs undone, RFC 2231 decoded, of a repeated one the first."""
    header = 'Multipart/Related;BOUNDARY="a\\"b";boundary=c; start*=utf-8\'\'%3Ca%3E; type=x/y;'
    assert content_type(header) == ("multipart/related", {"boundary": 'a"b', "start": "<a>", "type": "x/y"})
    assert content_type("") == ("", {})


def test_truncated_is_a_kind_of_multipart_error() -> None:
    """Whoever catches the one catches the other."""
    assert issubclass(TruncatedResponse, MultipartError)
