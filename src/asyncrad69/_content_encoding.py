"""
HTTP Content-Encoding undone with a bound. No I/O.

We ask for identity: pixel data does not compress, and a chain of encodings can turn 270 bytes into a gigabyte. A
proxy that compresses all the same is read, up to a ratio.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from ._errors import LimitExceeded, NotARad69Response, TruncatedResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = 1 << 20  # the most that is inflated at once, in bytes
_GRACE = 1 << 20  # the ratio is not looked at before as much has come out

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class ContentDecoder(Protocol):
    """Bytes of the body as sent in, bytes of the body as meant out."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


def content_decoder(content_encoding: str, *, max_inflation: int) -> ContentDecoder:
    """
    The decoder for a Content-Encoding header.

    Raises:
        NotARad69Response: An encoding that was not asked for and is not read.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return _Identity()
    if encoding in _WINDOW_BITS:
        return _Inflate(_WINDOW_BITS[encoding], max_inflation)
    raise NotARad69Response(
        "the reply comes in a Content-Encoding that was not asked for",
        hint="A proxy compresses it: have it leave RAD-69 alone.",
    )


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class _Inflate:
    def __init__(self, window_bits: int, max_inflation: int) -> None:
        self._inflater = zlib.decompressobj(window_bits)
        self._max_inflation = max_inflation
        self._came = 0
        self._made = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._came += len(data)
        while data and not self._inflater.eof:
            try:
                inflated = self._inflater.decompress(data, _STEP)
            except zlib.error:
                raise TruncatedResponse("the reply's Content-Encoding is broken") from None
            data = self._inflater.unconsumed_tail
            self._made += len(inflated)
            if self._made > _GRACE + self._came * self._max_inflation:
                raise LimitExceeded(
                    f"the reply inflates to more than {self._max_inflation} times its size",
                    limit="max_inflation",
                    maximum=self._max_inflation,
                )
            if inflated:
                yield inflated

    def finish(self) -> None:
        # The checksum is in the trailer: without it, nothing says that what came out is what went in.
        if not self._inflater.eof:
            raise TruncatedResponse("the reply's Content-Encoding ended too early")
