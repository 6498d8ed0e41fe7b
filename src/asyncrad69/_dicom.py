"""
Document bytes in: is it DICOM, is it whole, which instance is it; and the Dataset.

pydicom reads a file that was cut anywhere without a complaint, so "whole" is found out here, by walking the
elements' headers from end to end (PS3.5 7, PS3.10 7.1). Values are not decoded on the way.
The only room that knows pydicom.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from struct import Struct, error as StructError
from typing import Final, TypeAlias

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from ._errors import InvalidInstanceError, InvalidReferenceError

Bytes: TypeAlias = bytes | memoryview

#: What pydicom makes of a file; the type that `Instance.dataset` has.
Dataset: TypeAlias = FileDataset

_PREAMBLE_SIZE = 128
_UNDEFINED: Final = 0xFFFFFFFF
_MAX_DEPTH = 32  # sequences in sequences; enhanced objects and structured reports stay below 15
_MAX_INFLATED = 4 << 30
_MAX_INFLATION = 200  # PS3.5 A.5 deflates headers and pixels; a real study stays below 50:1

_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NATIVE = frozenset((_IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", _EXPLICIT_BIG, _DEFLATED))

# PS3.5 7.1.2: these have two reserved bytes and a 32-bit length.
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_TRANSFER_SYNTAX = 0x00020010
_META_SOP_INSTANCE = 0x00020003
_SOP_INSTANCE = 0x00080018
_STUDY = 0x0020000D
_SERIES = 0x0020000E
_SAMPLES = 0x00280002
_PHOTOMETRIC = 0x00280004
_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_PIXEL_DATA = 0x7FE00010
_WANTED = frozenset((_SOP_INSTANCE, _STUDY, _SERIES, _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What a document says about itself.

    Attributes:
        sop_instance_uid: From its data set, else from its file meta information; empty if in neither.
        meta_sop_instance_uid: Media Storage SOP Instance UID (0002,0003); empty if absent.
        series_instance_uid: Empty if absent, as are the others.
        study_instance_uid: See above.
        transfer_syntax_uid: From its file meta information (0002,0010).
        flaw: Why it is not whole, free of values; ``None`` if it is.
    """

    sop_instance_uid: str = ""
    meta_sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    flaw: str | None = None


class _Flaw(Exception):
    """Where and why the walk ended."""


def examine(data: bytes) -> Facts:
    """
    Walk a DICOM file (PS3.10) from end to end and say what it is.

    It is whole if the walk ends at its last byte: every defined length fits, every undefined one has its
    delimiter, and native pixel data has the length that rows, columns, samples, frames and bits ask for. About
    0.1 ms for an image of 512 KiB, whatever its size: pixel data is stepped over.

    Never raises for what *data* holds: `Facts.flaw` says what is wrong with it.
    """
    if not data:
        return Facts(flaw="is empty")
    if data[_PREAMBLE_SIZE : _PREAMBLE_SIZE + 4] != b"DICM":
        return Facts(flaw="is not a DICOM file: no DICM after 128 bytes")
    meta: dict[int, Bytes] = {}
    found: dict[int, Bytes] = {}
    flaw = None
    try:
        start = _walk_meta(data, meta)
        _walk_dataset(data, start, _uid(meta.get(_TRANSFER_SYNTAX)), found)
    except _Flaw as exc:
        flaw = str(exc)
    except (StructError, IndexError):
        flaw = "ends inside an element's header"
    except zlib.error:
        flaw = "is deflated, and its deflate stream is broken"
    meta_uid = _uid(meta.get(_META_SOP_INSTANCE))
    return Facts(
        sop_instance_uid=_uid(found.get(_SOP_INSTANCE)) or meta_uid,
        meta_sop_instance_uid=meta_uid,
        series_instance_uid=_uid(found.get(_SERIES)),
        study_instance_uid=_uid(found.get(_STUDY)),
        transfer_syntax_uid=_uid(meta.get(_TRANSFER_SYNTAX)),
        flaw=flaw,
    )


def read_dataset(data: bytes, *, force: bool = False) -> Dataset:
    """
    The Dataset in *data*, with its pixel data; it keeps no reference to *data* beyond its own values.

    Raises:
        InvalidInstanceError: pydicom cannot read it.
    """
    try:
        dataset = dcmread(BytesIO(data), force=force)
    # pydicom answers damaged values with errors of many kinds; this is the seam where they become ours.
    except Exception as exc:  # noqa: BLE001
        raise InvalidInstanceError(f"pydicom cannot read the instance: {type(exc).__name__}") from None
    # pydicom keeps the whole file alive beside the values it copied out of it.
    dataset.buffer = None
    return dataset


def read_header(path: str | PathLike[str]) -> Dataset:
    """
    The Dataset of a file without its pixel data.

    Raises:
        InvalidReferenceError: Not a DICOM file.
        OSError: It cannot be opened.
    """
    try:
        return dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        raise InvalidReferenceError("not a DICOM file: no DICM after 128 bytes") from None


# --- the walk ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How the elements of a data set are written (PS3.5 7.1)."""

    explicit: bool
    tag: Struct
    short: Struct
    long: Struct

    def header(self, data: Bytes, position: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and the position of the value."""
        group, element = self.tag.unpack_from(data, position)
        tag = group << 16 | element
        if not self.explicit or group == 0xFFFE:  # PS3.5 7.5: items and delimiters have no VR
            return tag, b"", self.long.unpack_from(data, position + 4)[0], position + 8
        vr = bytes(data[position + 4 : position + 6])
        if vr in _LONG_VRS:
            return tag, vr, self.long.unpack_from(data, position + 8)[0], position + 12
        if not vr.isalpha():
            # Some writers change to implicit VR inside an explicit data set; pydicom reads them the same way.
            return tag, b"", self.long.unpack_from(data, position + 4)[0], position + 8
        return tag, vr, self.short.unpack_from(data, position + 6)[0], position + 8


def _encoding(*, explicit: bool, order: str) -> _Encoding:
    return _Encoding(explicit, Struct(order + "HH"), Struct(order + "H"), Struct(order + "L"))


_EXPLICIT_LITTLE_ENCODING = _encoding(explicit=True, order="<")
_IMPLICIT_LITTLE_ENCODING = _encoding(explicit=False, order="<")
_EXPLICIT_BIG_ENCODING = _encoding(explicit=True, order=">")


def _walk_meta(data: bytes, meta: dict[int, Bytes]) -> int:
    """Collect the file meta information, which ends where group 0002 does, whatever its group length says."""
    position = _PREAMBLE_SIZE + 4
    while data[position : position + 2] == b"\x02\x00":
        tag, _, length, value = _EXPLICIT_LITTLE_ENCODING.header(data, position)
        position = _end(data, value, length, "file meta information")
        meta[tag] = data[value:position]
    if _TRANSFER_SYNTAX not in meta:
        raise _Flaw("has no transfer syntax in its file meta information")
    return position


def _walk_dataset(data: Bytes, position: int, transfer_syntax: str, found: dict[int, Bytes]) -> None:
    if transfer_syntax == _DEFLATED:
        data, position = _inflate(data[position:]), 0
    encoding = _EXPLICIT_BIG_ENCODING if transfer_syntax == _EXPLICIT_BIG else _EXPLICIT_LITTLE_ENCODING
    if transfer_syntax == _IMPLICIT_LITTLE or not bytes(data[position + 4 : position + 6]).isalpha():
        encoding = _IMPLICIT_LITTLE_ENCODING
    native_length = None
    for tag, value, length in _elements(data, position, encoding):
        if tag in _WANTED:
            found[tag] = data[value : value + length]
        elif tag == _PIXEL_DATA and length != _UNDEFINED:
            native_length = length
    if native_length is not None and transfer_syntax in _NATIVE:
        _check_native_length(found, native_length, encoding)


def _elements(data: Bytes, position: int, encoding: _Encoding) -> Iterator[tuple[int, int, int]]:
    """The elements from *position* to the last byte: tag, position of the value, length."""
    size = len(data)
    header = encoding.header
    while position < size:
        tag, vr, length, value = header(data, position)
        if length == _UNDEFINED:
            position = _walk_undefined(data, value, vr, tag, encoding)
        else:
            position = value + length
            if position > size:
                if not any(data[value - 8 :]):
                    return  # padded with NUL to a block size
                raise _Flaw(f"ends inside element ({tag >> 16:04X},{tag & 0xFFFF:04X})")
        yield tag, value, length


def _walk_undefined(data: Bytes, position: int, vr: bytes, tag: int, encoding: _Encoding, depth: int = 1) -> int:
    """Step over a value of undefined length (PS3.5 7.5, A.4); returns where the next element begins."""
    if depth > _MAX_DEPTH:
        raise _Flaw(f"nests sequences deeper than {_MAX_DEPTH}")
    if vr == b"UN":  # PS3.5 6.2.2, note 4: its items are in implicit VR little endian
        encoding = _IMPLICIT_LITTLE_ENCODING
    fragments = tag == _PIXEL_DATA or vr in {b"OB", b"OW"}
    while True:
        item, _, length, value = encoding.header(data, position)
        if item == _SEQUENCE_END:
            return value
        if item != _ITEM:
            raise _Flaw(f"has no item where one belongs in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
        if length != _UNDEFINED:
            position = _end(data, value, length, "an item")
        elif fragments:
            raise _Flaw("has a pixel data fragment of undefined length")
        else:
            position = _walk_item(data, value, encoding, depth)


def _walk_item(data: Bytes, position: int, encoding: _Encoding, depth: int) -> int:
    while True:
        tag, vr, length, value = encoding.header(data, position)
        if tag == _ITEM_END:
            return value
        if length == _UNDEFINED:
            position = _walk_undefined(data, value, vr, tag, encoding, depth + 1)
        else:
            position = _end(data, value, length, "a sequence item")


def _end(data: Bytes, value: int, length: int, what: str) -> int:
    if value + length > len(data):
        raise _Flaw(f"ends inside {what}")
    return value + length


def _inflate(deflated: Bytes) -> bytes:
    limit = min(_MAX_INFLATED, max(1 << 20, len(deflated) * _MAX_INFLATION))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: RFC 1951, without a zlib header
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise _Flaw(f"inflates to more than {limit} bytes")
    if not inflater.eof:
        raise _Flaw("is deflated, and its deflate stream ends too early")
    return inflated


def _check_native_length(found: dict[int, Bytes], length: int, encoding: _Encoding) -> None:
    """PS3.5 8.1.1, PS3.3 C.7.6.3: native pixel data is frames of rows x columns x samples of that many bits."""
    rows, columns, bits = (_number(found.get(tag), encoding) for tag in (_ROWS, _COLUMNS, _BITS_ALLOCATED))
    samples = _number(found.get(_SAMPLES), encoding) or 1
    if bytes(found.get(_PHOTOMETRIC, b"")).strip(b" \0") == b"YBR_FULL_422":
        samples = 2  # PS3.3 C.7.6.3.1.2: two chrominance samples for each two pixels
    expected = (rows * columns * samples * bits * _frames(found.get(_FRAMES)) + 7) // 8
    if length < expected:
        raise _Flaw(f"has {length} bytes of pixel data where its rows, columns and frames ask for {expected}")


def _number(value: Bytes | None, encoding: _Encoding) -> int:
    return int(encoding.short.unpack_from(value)[0]) if value is not None and len(value) >= 2 else 0


def _frames(value: Bytes | None) -> int:
    text = bytes(value or b"").strip(b" \0")
    return int(text) if text.isdigit() else 1


def _uid(value: Bytes | None) -> str:
    # PS3.5 9.1: padded to even length with NUL; some writers use a blank.
    return bytes(value or b"").rstrip(b"\0 ").decode("ascii", "replace")
