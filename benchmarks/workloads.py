"""
What is retrieved: made up, seeded DICOM instances of a given size and number. Nothing of it is stored.

Written without pydicom and asyncrad69, so that the peers that need neither start quickly.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from random import Random
from struct import pack
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPOSITORY: Final = "1.3.6.1.4.1000"  # the one dicomtrolley asks for, whatever the source's own is

_ROOT: Final = "2.25.6969"
_STUDY: Final = f"{_ROOT}.1"
_SERIES: Final = f"{_ROOT}.1.1"
_CT_IMAGE_STORAGE: Final = b"1.2.840.10008.5.1.4.1.1.2"
_TEXT_ELEMENTS: Final = 74  # with the others about 110, as scanners write them
_COMMENT_BYTES: Final = 64
_FIRST: Final = 100_000  # the number in the first UID
_FRAMES_OF_NOISE: Final = 8


@dataclass(frozen=True)
class Workload:
    """
    One series of equal instances.

    Args:
        name: For tables.
        count: Instances.
        rows: Rows, and columns, of 16 bit pixels.
        frames: Frames of each instance.
        first: The number of its first instance.
    """

    name: str
    count: int
    rows: int
    frames: int = 1
    first: int = 0

    @property
    def pixel_bytes(self) -> int:
        """The size of one instance's pixel data."""
        return 2 * self.rows**2 * self.frames

    @property
    def instance_bytes(self) -> int:
        """The size of one instance as a file; all have the same."""
        return len(_head(instance_uid(self.first), self.rows, self.frames)) + self.pixel_bytes

    @property
    def total_bytes(self) -> int:
        """The size of all instances."""
        return self.count * self.instance_bytes

    @property
    def uids(self) -> list[str]:
        """The SOP Instance UIDs of all instances."""
        return [instance_uid(self.first + index) for index in range(self.count)]

    @property
    def references(self) -> list[tuple[str, str, str]]:
        """Study, series and SOP Instance UID of all instances."""
        return [(_STUDY, _SERIES, uid) for uid in self.uids]

    def instance(self, uid: str) -> bytes:
        """The file of one instance: for each, other pixels and what else differs from slice to slice."""
        head = _head(uid, self.rows, self.frames)
        noise = Random(uid).randbytes(min(self.pixel_bytes, _FRAMES_OF_NOISE * 2 * self.rows**2))
        return head + (noise * (self.pixel_bytes // len(noise) + 1))[: self.pixel_bytes]


#: One instance asked for before the clock starts: it loads modules, dictionaries and code.
WARM_UP: Final = Workload("warm-up", 1, 8, first=800_000)


def instance_uid(index: int) -> str:
    """The SOP Instance UID of an instance; all are of one length, so that all files are."""
    return f"{_SERIES}.{_FIRST + index}"


def _head(uid: str, rows: int, frames: int) -> bytes:
    """A file up to where its pixels begin (PS3.10 7.1, PS3.5 7.1.2)."""
    meta = _element(0x0002, 0x0001, b"OB", b"\0\1")
    meta += _element(0x0002, 0x0002, b"UI", _CT_IMAGE_STORAGE)
    meta += _element(0x0002, 0x0003, b"UI", uid.encode())
    meta += _element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1")
    length = _element(0x0002, 0x0000, b"UL", pack("<L", len(meta)))
    return bytes(128) + b"DICM" + length + meta + b"".join(_elements(uid, rows, frames))


def _elements(uid: str, rows: int, frames: int) -> Iterator[bytes]:
    number = int(uid.rpartition(".")[2]) - _FIRST
    chance = Random(number)
    time = b"%06d.%06d" % (101500 + number % 60, chance.randrange(1_000_000))
    current, exposure, angle = (b"%d" % chance.randint(1, 400) for _ in range(3))
    count, position = b"%d" % (number + 1), b"%d" % (number - 100)
    # So that all files have one size, though the lengths of values differ, and with them the places of what follows.
    comment = b"." * (
        _COMMENT_BYTES - sum(len(_even(each)) for each in (current, exposure, angle, count, position, position))
    )
    yield _element(0x0008, 0x0008, b"CS", b"ORIGINAL\\PRIMARY\\AXIAL")
    yield _element(0x0008, 0x0013, b"TM", time)
    yield _element(0x0008, 0x0016, b"UI", _CT_IMAGE_STORAGE)
    yield _element(0x0008, 0x0018, b"UI", uid.encode())
    yield _element(0x0008, 0x0020, b"DA", b"20200101")
    yield _element(0x0008, 0x0032, b"TM", time)
    yield _element(0x0008, 0x0033, b"TM", time)
    yield _element(0x0008, 0x0060, b"CS", b"CT")
    yield _element(0x0010, 0x0010, b"PN", b"Benchmark^Synthetic")
    yield _element(0x0010, 0x0020, b"LO", b"BENCHMARK")
    yield _element(0x0018, 0x1151, b"IS", current)
    yield _element(0x0018, 0x1152, b"IS", exposure)
    yield _element(0x0019, 0x0010, b"LO", b"ASYNCRAD69 BENCHMARK")
    for index in range(_TEXT_ELEMENTS):
        yield _element(0x0019, 0x1000 + index, b"LO", b"value %d" % index)
    yield _element(0x0019, 0x1100, b"DS", angle)
    yield _element(0x0019, 0x1101, b"SL", pack("<l", number))
    yield _element(0x0020, 0x000D, b"UI", _STUDY.encode())
    yield _element(0x0020, 0x000E, b"UI", _SERIES.encode())
    yield _element(0x0020, 0x0012, b"IS", b"1")
    yield _element(0x0020, 0x0013, b"IS", count)
    yield _element(0x0020, 0x0032, b"DS", b"-256\\-256\\" + position)
    yield _element(0x0020, 0x0037, b"DS", b"1\\0\\0\\0\\1\\0")
    yield _element(0x0020, 0x1041, b"DS", position)
    yield _element(0x0020, 0x4000, b"LT", comment)
    yield _element(0x0028, 0x0002, b"US", pack("<H", 1))
    yield _element(0x0028, 0x0004, b"CS", b"MONOCHROME2")
    yield _element(0x0028, 0x0008, b"IS", b"%d" % frames)
    for element, value in ((0x10, rows), (0x11, rows), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)):
        yield _element(0x0028, element, b"US", pack("<H", value))
    yield _element(0x0028, 0x0106, b"US", pack("<H", chance.randint(0, 20)))
    yield _element(0x0028, 0x0107, b"US", pack("<H", chance.randint(2000, 4000)))
    yield pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 2 * rows**2 * frames)


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value = _even(value, b"\0" if vr == b"UI" else b" ")
    if vr == b"OB":
        return pack("<HH2sHL", group, element, vr, 0, len(value)) + value
    return pack("<HH2sH", group, element, vr, len(value)) + value


def _even(value: bytes, pad: bytes = b" ") -> bytes:
    return value + pad * (len(value) % 2)


def request_envelope(uids: Iterable[str]) -> bytes:
    """A request for the peers that have no SOAP of their own."""
    documents = "".join(
        f"<x:DocumentRequest><x:RepositoryUniqueId>{REPOSITORY}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{uid}</x:DocumentUniqueId></x:DocumentRequest>"
        for uid in uids
    )
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:x="urn:ihe:iti:xds-b:2007">'
        f"<s:Header><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID></s:Header><s:Body>{documents}</s:Body>"
        "</s:Envelope>"
    ).encode()
