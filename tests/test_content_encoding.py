"""HTTP Content-Encoding: undone to the byte, with a bound, and only if it is whole."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest

from asyncrad69 import LimitExceeded, NotARad69Response, TruncatedResponse
from asyncrad69._content_encoding import content_decoder

DATA = os.urandom(3000) + bytes(5000)
ENCODED = {
    "": DATA,
    " Identity ": DATA,
    "gzip": gzip.compress(DATA),
    "X-GZIP": gzip.compress(DATA),
    "deflate": zlib.compress(DATA),
}


def decode(encoding: str, *pieces: bytes, max_inflation: int = 200) -> bytes:
    """All that comes out, to the proof that it was all."""
    decoder = content_decoder(encoding, max_inflation=max_inflation)
    decoded = b"".join(out for piece in pieces for out in decoder.feed(piece))
    decoder.finish()
    return decoded


@pytest.mark.parametrize(("encoding", "data"), ENCODED.items())
def test_what_went_in_comes_out(encoding: str, data: bytes) -> None:
    """Whole, byte by byte, with empty pieces, and with bytes behind its end."""
    assert decode(encoding, data) == DATA
    assert decode(encoding, b"", *(data[i : i + 1] for i in range(len(data))), b"") == DATA
    if data is not DATA:
        assert decode(encoding, data + b"tail", b"more") == DATA


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_cut_anywhere_it_is_truncated(encoding: str) -> None:
    """Down to the last byte of the checksum."""
    data = ENCODED[encoding]
    for length in range(len(data)):
        with pytest.raises(TruncatedResponse):
            decode(encoding, data[:length])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("where", [0, 1, -1])
def test_a_broken_stream_is_an_error(encoding: str, where: int) -> None:
    """Not the format it says, or with a wrong checksum."""
    data = bytearray(ENCODED[encoding])
    data[where] ^= 0x55
    with pytest.raises(TruncatedResponse):
        decode(encoding, bytes(data))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,identity", "nonsense"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """Above all a chain of them, which turns a few bytes into a gigabyte."""
    with pytest.raises(NotARad69Response, match="Content-Encoding"):
        content_decoder(encoding, max_inflation=200)


def test_a_bomb_ends_at_the_ratio() -> None:
    """What inflates beyond the ratio is refused early, in pieces of a MiB at most."""
    bomb = zlib.compress(bytes(64 << 20), 9)
    decoder = content_decoder("deflate", max_inflation=10)
    pieces: list[bytes] = []
    with pytest.raises(LimitExceeded) as caught:
        pieces.extend(decoder.feed(bomb))
    assert max(len(piece) for piece in pieces) <= 1 << 20
    assert (caught.value.limit, caught.value.maximum) == ("max_inflation", 10)
    assert sum(len(piece) for piece in pieces) <= (1 << 20) + 10 * len(bomb)


def test_a_high_ratio_within_the_bound_is_read() -> None:
    """Several MiB out of one piece come in several pieces, all of them."""
    data = bytes(5 << 20)
    assert decode("deflate", zlib.compress(data), max_inflation=2000) == data
