"""How the elements of a data set are written (PS3.5 7.1)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from mmap import mmap

Bytes: TypeAlias = "bytes | mmap"

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
#: Bytes of an element's header, at least.
MIN_HEADER: Final = 8
#: What is known of them has this bound. The standard has some 5,000 elements; private ones have no end.
MOST_HEADS: Final = 16 * 1024

# PS3.5 7.1.2: these have two reserved bytes and a 32-bit length.
LONG_VRS: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
#: The others that the standard knows.
SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

_DELIMITERS: Final = 0xFFFE


class _Heads(dict[bytes, tuple[int, bytes, bool]]):
    """What elements begin with, decoded once for all alike: tag, VR, and whether the length is what follows."""

    def __init__(self, order: str) -> None:
        self._tag = Struct(order + "HH")

    def __missing__(self, head: bytes) -> tuple[int, bytes, bool]:
        if len(self) >= MOST_HEADS:
            self.clear()
        group, element = self._tag.unpack_from(head)
        vr = head[self._tag.size :]
        known = self[head] = group << 16 | element, vr, group != _DELIMITERS and (not vr or vr in SHORT_VRS)
        return known


class Encoding:
    """
    One of three.

    Attributes:
        head: Reads what an element begins with, its tag and its VR if that is explicit, and a length where one follows.
        short: Reads a number of 16 bits.
    """

    def __init__(self, *, explicit: bool, order: str) -> None:
        self.head = Struct(order + ("6sH" if explicit else "4sL"))
        self.short = Struct(order + "H")
        self._heads = _Heads(order)
        self._long = Struct(order + "L")

    def length_follows(self, head: bytes) -> bool:
        """Whether a length follows *head* at once, as in most elements."""
        return self._heads[head][2]

    def header(self, data: Bytes, position: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and the position of the value; the VR is empty where it is implicit."""
        head, length = self.head.unpack_from(data, position)
        tag, vr, length_follows = self._heads[head]
        if length_follows:
            return tag, vr, length, position + 8
        if vr.isalpha() and tag >> 16 != _DELIMITERS:
            if vr in LONG_VRS:
                return tag, vr, self._long.unpack_from(data, position + 8)[0], position + 12
            return tag, vr, length, position + 8
        # PS3.5 7.5: items and delimiters have no VR. And some writers change to implicit VR inside an explicit
        # data set; pydicom reads them the same way.
        return tag, b"", self._long.unpack_from(data, position + 4)[0], position + 8


EXPLICIT_LITTLE: Final = Encoding(explicit=True, order="<")
IMPLICIT_LITTLE: Final = Encoding(explicit=False, order="<")
EXPLICIT_BIG: Final = Encoding(explicit=True, order=">")


def tag_name(tag: int) -> str:
    """As the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
