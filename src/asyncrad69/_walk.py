"""
Document bytes in: is it DICOM, is it whole, which instance is it.

pydicom reads a file that was cut anywhere without a complaint, so "whole" is found out here, by walking the
elements' headers from end to end (PS3.5 7, PS3.10 7.1). Values are not decoded on the way.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from mmap import mmap
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from ._elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    MIN_HEADER,
    MOST_HEADS,
    SEQUENCE_END,
    UNDEFINED,
    tag_name,
)
from ._likeness import Likeness, Notes
from ._limits import Limits

if TYPE_CHECKING:
    from ._elements import Bytes, Encoding
    from ._likeness import Runs

_PREAMBLE_SIZE = 128
_DICM = b"DICM"
_META_GROUP = b"\x02\x00"
_MAX_INTEGER_STRING = 12  # bytes of VR IS, PS3.5 6.2
_INFLATED_ALWAYS = 1 << 20  # bytes; the ratio is not looked at below

_IMPLICIT_LITTLE_UID = "1.2.840.10008.1.2"
_EXPLICIT_BIG_UID = "1.2.840.10008.1.2.2"
_DEFLATED_UID = "1.2.840.10008.1.2.1.99"
_NATIVE = frozenset((_IMPLICIT_LITTLE_UID, "1.2.840.10008.1.2.1", _EXPLICIT_BIG_UID, _DEFLATED_UID))

_TRANSFER_SYNTAX = 0x00020010
_META_SOP_INSTANCE = 0x00020003
_CHARACTER_SET = 0x00080005
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
# PS3.3 C.7.6.3, C.7.6.24, C.7.6.25: an image may have a Pixel Data Provider URL or float pixel data instead.
_PIXELS = frozenset((_PIXEL_DATA, 0x00287FE0, 0x7FE00008, 0x7FE00009))
_IMAGE = frozenset((_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED))
_WANTED = _IMAGE | {_TRANSFER_SYNTAX, _META_SOP_INSTANCE, _SOP_INSTANCE, _STUDY, _SERIES}


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
        exceeded: Which of the `Limits` ended the walk, if one did.
    """

    sop_instance_uid: str = ""
    meta_sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    flaw: str | None = None
    exceeded: str | None = None


_DEFAULT_LIMITS = Limits()


class ForgetfulView(mmap):
    """The pages of a file, which need not stay in memory when the walk has passed them."""

    def passed(self, position: int) -> None:
        """Nothing before *position* will be looked at again. Told again and again, with growing positions."""


class _Flaw(Exception):
    """Where and why the walk ended."""


class _Exceeded(_Flaw):
    """It ended at one of the bounds."""

    def __init__(self, flaw: str, bound: str) -> None:
        super().__init__(flaw)
        self.bound = bound


def examine(data: Bytes, limits: Limits = _DEFAULT_LIMITS, likeness: Likeness | None = None) -> Facts:
    """
    Walk a DICOM file (PS3.10) from end to end and say what it is.

    It is whole if the walk ends at its last byte: every defined length fits, every undefined one has its
    delimiter, an image has pixel data, and native pixel data has the length that rows, columns, samples, frames
    and bits ask for. Some 0.07 ms for 110 elements, and 0.03 where their likes are known, whatever the size of the
    image: pixel data is stepped over.

    Args:
        data: The file.
        limits: How far to follow it.
        likeness: What is known of others like it, e.g. of its series; it learns from this one, unless it is the first.

    Never raises for what *data* holds: `Facts.flaw` says what is wrong with it.
    """
    if not data:
        return Facts(flaw="is empty")
    if data[_PREAMBLE_SIZE : _PREAMBLE_SIZE + len(_DICM)] != _DICM:
        return Facts(flaw="is not a DICOM file: no DICM after 128 bytes")
    walk = _Walk(data, limits, likeness or Likeness())
    flaw, exceeded = None, None
    try:
        walk.file()
    except _Flaw as exc:
        flaw, exceeded = str(exc), exc.bound if isinstance(exc, _Exceeded) else None
    except (struct_error, IndexError):
        flaw = "ends inside an element's header"
    except zlib.error:
        flaw = "is deflated, and its deflate stream is broken"
    meta, found = walk.meta, walk.found
    meta_uid = _uid(meta.get(_META_SOP_INSTANCE))
    return Facts(
        sop_instance_uid=_uid(found.get(_SOP_INSTANCE)) or meta_uid,
        meta_sop_instance_uid=meta_uid,
        series_instance_uid=_uid(found.get(_SERIES)),
        study_instance_uid=_uid(found.get(_STUDY)),
        transfer_syntax_uid=_uid(meta.get(_TRANSFER_SYNTAX)),
        flaw=flaw,
        exceeded=exceeded,
    )


# --- the walk ------------------------------------------------------------------------------------------


class _Walk:
    """
    From element to element.

    Args:
        data: The file.
        limits: How far to follow it.
        likeness: What is known of others.

    Attributes:
        meta: The values we want of the file meta information, by tag.
        found: Those of the data set.
    """

    def __init__(self, data: Bytes, limits: Limits, likeness: Likeness) -> None:
        self.meta: dict[int, bytes] = {}
        self.found: dict[int, bytes] = {}
        self._data = data
        self._limits = limits
        self._likeness = likeness
        # The first of a series may be the only one.
        self._learns = likeness.has_seen_one
        self._pixel_length = 0  # 0 without pixel data, undefined where it is fragments or not in PixelData
        self._begin(EXPLICIT_LITTLE, likeness.explicit, self.meta)

    def _begin(self, encoding: Encoding, runs: Runs, found: dict[int, bytes]) -> None:
        self._encoding = encoding
        self._runs = runs
        self._notes = Notes(self._data, runs) if self._learns else None
        self._wanted = found

    def file(self) -> None:
        """From end to end."""
        position = self._file_meta(_PREAMBLE_SIZE + len(_DICM))
        transfer_syntax = _uid(self.meta.get(_TRANSFER_SYNTAX))
        if transfer_syntax == _DEFLATED_UID:
            self._data, position = _inflate(self._data[position:], self._limits), 0
        if position == len(self._data):
            raise _Flaw("has no data set")
        encoding, runs = EXPLICIT_LITTLE, self._likeness.explicit
        if transfer_syntax == _EXPLICIT_BIG_UID:
            encoding, runs = EXPLICIT_BIG, self._likeness.big
        if transfer_syntax == _IMPLICIT_LITTLE_UID or not self._data[position + 4 : position + 6].isalpha():
            encoding, runs = IMPLICIT_LITTLE, self._likeness.implicit
        self._begin(encoding, runs, self.found)
        self._elements(position)
        self._likeness.has_seen_one = True
        length = self._pixel_length
        if length == 0 or (length != UNDEFINED and transfer_syntax in _NATIVE):
            _check_pixel_length(self.found, length, encoding)

    def _file_meta(self, position: int) -> int:
        """Pass the file meta information, which ends where group 0002 does, whatever its group length says."""
        data, meta, runs = self._data, self.meta, self._runs
        while data[position : position + 2] == _META_GROUP:
            head = data[position : position + 6]
            run = runs.at(data, position, head)
            if run is None:
                position = self._element(position, head, "file meta information")
            else:
                position += len(run.data)
                meta.update(run.found)
        if self._notes is not None:
            self._notes.close()
        if _TRANSFER_SYNTAX not in meta:
            raise _Flaw("has no transfer syntax in its file meta information")
        return position

    def _elements(self, position: int) -> None:
        """Pass everything from *position* to the last byte."""
        # Every element of every instance passes here: in runs, or by some comparisons and an addition.
        data, found, notes, size = self._data, self.found, self._notes, len(self._data)
        head_at, run_at, is_new, plain = (
            self._encoding.head.unpack_from,
            self._runs.at,
            self._runs.is_new,
            _plain[self._encoding],
        )
        while position <= size - MIN_HEADER:
            head, length = head_at(data, position)
            run = run_at(data, position, head)
            if run is not None:
                position += len(run.data)
                found.update(run.found)
            elif head in plain and (end := position + MIN_HEADER + length) <= size and length != UNDEFINED:
                if notes is not None and is_new(head):
                    notes.add(head, position, end)
                position = end
            else:
                position = self._element(position, head)
        if notes is not None:
            notes.close()
        rest = data[position:]
        # NUL pads a file to a block size. One of it can be the first byte of a group, two cannot: none is 0000.
        if rest and (len(rest) == 1 or any(rest)):
            raise _Flaw("ends inside an element's header")

    def _element(self, start: int, head: bytes, within: str | None = None) -> int:
        """Pass the element at *start*, which begins with *head*; returns where it ends."""
        tag, vr, length, value = self._encoding.header(self._data, start)
        end = value + length
        if length == UNDEFINED and within is None:
            end = self._undefined(value, vr, tag, self._encoding)
        elif end > len(self._data):
            raise _Flaw(f"ends inside {within or f'element {tag_name(tag)}'}")
        wanted = None
        if tag in _PIXELS:
            self._pixel_length = length if tag == _PIXEL_DATA else UNDEFINED
        elif tag in _WANTED:
            wanted = tag, self._data[value:end]
            self._wanted[tag] = wanted[1]
        elif self._encoding.length_follows(head):
            _note_plain(self._encoding, head)
        if self._notes is not None and self._runs.is_new(head):
            if length == UNDEFINED or tag in _PIXELS:
                self._runs.alone(head)
            else:
                self._notes.add(head, start, end, wanted)
        return end

    def _undefined(self, position: int, vr: bytes, tag: int, encoding: Encoding, depth: int = 1) -> int:
        """Step over a value of undefined length (PS3.5 7.5, A.4); returns where the next element begins."""
        if depth > self._limits.max_dicom_depth:
            raise _Exceeded(f"nests sequences deeper than {self._limits.max_dicom_depth}", "max_dicom_depth")
        if vr == b"UN":  # PS3.5 6.2.2, note 4: its items are in implicit VR little endian
            encoding = IMPLICIT_LITTLE
        data, fragments = self._data, tag == _PIXEL_DATA or vr in {b"OB", b"OW"}
        # Fragments may be most of a file, a header on almost every page. An attribute's look-up for each would cost.
        passed = data.passed if isinstance(data, ForgetfulView) else None
        while True:
            item, _, length, value = encoding.header(data, position)
            if item == SEQUENCE_END:
                return value
            if passed is not None:
                passed(position)
            if item != ITEM:
                raise _Flaw(f"has no item where one belongs in {tag_name(tag)}")
            if length != UNDEFINED:
                position = self._end(value, length, "an item")
            elif fragments:
                raise _Flaw("has a pixel data fragment of undefined length")
            else:
                position = self._item(value, encoding, depth)

    def _item(self, position: int, encoding: Encoding, depth: int) -> int:
        while True:
            tag, vr, length, value = encoding.header(self._data, position)
            if tag == ITEM_END:
                return value
            if length == UNDEFINED:
                position = self._undefined(value, vr, tag, encoding, depth + 1)
            else:
                position = self._end(value, length, "a sequence item")

    def _end(self, value: int, length: int, what: str) -> int:
        if value + length > len(self._data):
            raise _Flaw(f"ends inside {what}")
        return value + length


# Heads of elements that tell us nothing and whose length follows at once, whatever file they were in.
_plain: Final[dict[Encoding, set[bytes]]] = {
    encoding: set() for encoding in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
}


def _note_plain(encoding: Encoding, head: bytes) -> None:
    plain = _plain[encoding]
    if len(plain) >= MOST_HEADS:
        plain.clear()
    plain.add(head)


def _inflate(deflated: Bytes, limits: Limits) -> bytes:
    by_ratio = max(_INFLATED_ALWAYS, len(deflated) * limits.max_dicom_inflation)
    limit = min(by_ratio, limits.max_part)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: RFC 1951, without a zlib header
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        bound = "max_dicom_inflation" if limit == by_ratio else "max_part"
        raise _Exceeded(f"inflates to more than {limit} bytes", bound)
    if not inflater.eof:
        raise _Flaw("is deflated, and its deflate stream ends too early")
    return inflated


def _check_pixel_length(found: dict[int, bytes], length: int, encoding: Encoding) -> None:
    """PS3.5 8.1.1, PS3.3 C.7.6.3: native pixel data is frames of rows x columns x samples of that many bits."""
    rows, columns, bits = (_number(found.get(tag), encoding) for tag in (_ROWS, _COLUMNS, _BITS_ALLOCATED))
    samples = _number(found.get(_SAMPLES), encoding) or 1
    if found.get(_PHOTOMETRIC, b"").strip(b" \0") == b"YBR_FULL_422":
        samples = 2  # PS3.3 C.7.6.3.1.2: two chrominance samples for each two pixels
    expected = (rows * columns * samples * bits * _frames(found.get(_FRAMES, b"")) + 7) // 8
    if length < expected:
        raise _Flaw(f"has {length} bytes of pixel data where its rows, columns and frames ask for {expected}")


def _number(value: bytes | None, encoding: Encoding) -> int:
    return int(encoding.short.unpack_from(value)[0]) if value is not None and len(value) >= 2 else 0


def _frames(value: bytes) -> int:
    text = value.strip(b" \0")
    return int(text) if text.isdigit() and len(text) <= _MAX_INTEGER_STRING else 1


def _uid(value: bytes | None) -> str:
    # PS3.5 9.1: padded to even length with NUL; some writers use a blank.
    return (value or b"").rstrip(b"\0 ").decode("ascii", "replace")
