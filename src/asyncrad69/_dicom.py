"""
Document bytes in: is it DICOM, is it whole, which instance is it; and the Dataset.

pydicom reads a file that was cut anywhere without a complaint, so "whole" is found out here, by walking the
elements' headers from end to end (PS3.5 7, PS3.10 7.1). Values are not decoded on the way.
With `_dataset` the only room that knows pydicom.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap
from struct import Struct, error as struct_error
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from ._dataset import maybe_dataset
from ._errors import InvalidInstanceError, InvalidReferenceError
from ._limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

Bytes: TypeAlias = bytes | memoryview | mmap

#: What pydicom makes of a file; the type that `Instance.dataset` has.
Dataset: TypeAlias = FileDataset

_PREAMBLE_SIZE = 128
_MAX_INTEGER_STRING = 12  # bytes of VR IS, PS3.5 6.2
_MIN_HEADER: Final = 8  # bytes of an element's header, PS3.5 7.1
# Of a run of elements that is stepped over at once: in bytes; how many are known; how often another takes the place of
# one that did not fit.
_SHORTEST_RUN: Final = 64
_LONGEST_RUN: Final = 192
_MOST_RUNS: Final = 1024
_MISSES: Final = 8
_MOST_TAGS: Final = 16 * 1024  # the standard has some 5,000; private ones have no end
_UNDEFINED: Final = 0xFFFFFFFF
_INFLATED_ALWAYS = 1 << 20  # bytes; the ratio is not looked at below

_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NATIVE = frozenset((_IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", _EXPLICIT_BIG, _DEFLATED))

# PS3.5 7.1.2: these have two reserved bytes and a 32-bit length.
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
# The others that the standard knows; an empty one stands for implicit VR.
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()) | {b""}

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
# PS3.3 C.7.6.3, C.7.6.24, C.7.6.25: an image may have a Pixel Data Provider URL or float pixel data instead.
_PIXELS = frozenset((_PIXEL_DATA, 0x00287FE0, 0x7FE00008, 0x7FE00009))
_WANTED = _PIXELS | {_SOP_INSTANCE, _STUDY, _SERIES, _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED}


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


def examine(data: bytes | mmap, limits: Limits = _DEFAULT_LIMITS) -> Facts:
    """
    Walk a DICOM file (PS3.10) from end to end and say what it is.

    It is whole if the walk ends at its last byte: every defined length fits, every undefined one has its
    delimiter, an image has pixel data, and native pixel data has the length that rows, columns, samples, frames
    and bits ask for. About
    0.05 ms for 110 elements, whatever the size of the image: pixel data is stepped over.

    Args:
        data: The file.
        limits: How far to follow it.

    Never raises for what *data* holds: `Facts.flaw` says what is wrong with it.
    """
    if not data:
        return Facts(flaw="is empty")
    if data[_PREAMBLE_SIZE : _PREAMBLE_SIZE + 4] != b"DICM":
        return Facts(flaw="is not a DICOM file: no DICM after 128 bytes")
    meta: dict[int, Bytes] = {}
    found: dict[int, Bytes] = {}
    flaw, exceeded = None, None
    try:
        start = _walk_meta(data, meta)
        _walk_dataset(data, start, _uid(meta.get(_TRANSFER_SYNTAX)), found, limits)
    except _Flaw as exc:
        flaw, exceeded = str(exc), exc.bound if isinstance(exc, _Exceeded) else None
    except (struct_error, IndexError):
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
        exceeded=exceeded,
    )


def read_dataset(data: bytes, *, force: bool = False) -> Dataset:
    """
    The Dataset in *data*, with its pixel data; it keeps no reference to *data* beyond its own values.

    Raises:
        InvalidInstanceError: pydicom cannot read it.
    """
    try:
        dataset = maybe_dataset(data)
        if dataset is None:
            dataset = dcmread(BytesIO(data), force=force)
    # pydicom answers damaged values with errors of many kinds; this is the seam where they become ours.
    except Exception as exc:  # noqa: BLE001 - see above
        raise InvalidInstanceError(f"pydicom cannot read the instance: {type(exc).__name__}") from None
    # pydicom keeps the whole file alive beside the values it copied out of it.
    dataset.buffer = None
    return dataset


def read_header(source: str | PathLike[str] | bytes) -> Dataset:
    """
    The Dataset of a file, given by its path or its bytes, without its pixel data, every value decoded.

    Raises:
        InvalidReferenceError: Not a DICOM file, or a damaged one.
        OSError: It cannot be opened.
    """
    with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:  # noqa: PTH123 - may be text
        try:
            dataset = dcmread(file, stop_before_pixels=True)
            for _ in dataset.iterall():
                pass  # pydicom decodes a value when it is first looked at, and complains then
        except InvalidDicomError:
            raise InvalidReferenceError("not a DICOM file: no DICM after 128 bytes") from None
        # As above: errors of many kinds.
        except Exception as exc:  # noqa: BLE001 - see above
            raise InvalidReferenceError(f"a damaged DICOM file: {type(exc).__name__}") from None
    return dataset


# --- the walk ------------------------------------------------------------------------------------------


class _Encoding:
    """How the elements of a data set are written (PS3.5 7.1)."""

    def __init__(self, *, explicit: bool, order: str) -> None:
        # Group, element, VR, length. In implicit VR the VR is empty, so that both read alike.
        self.head = Struct(order + ("HH2sH" if explicit else "HH0sL"))
        # The same, with what stands before the length in one.
        self.outline = Struct(order + ("6sH" if explicit else "4sL"))
        self.tag = Struct(order + "HH")
        self.short = Struct(order + "H")
        self.long = Struct(order + "L")
        # Outlines of elements that tell us nothing, and whose length follows at once: known after the first such file.
        self.passable: set[bytes] = set()
        # Runs of such elements by where they begin: what reads all their headers at once, the headers, and the run's
        # end. The instances of a series have them at the same places, of the same lengths.
        self.runs: dict[int, tuple[Callable[[Bytes, int], tuple[Any, ...]], tuple[bytes, ...], int]] = {}
        self._misses = 0

    def header(self, data: Bytes, position: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and the position of the value."""
        group, element, vr, length = self.head.unpack_from(data, position)
        if vr in _SHORT_VRS and group != 0xFFFE:
            return group << 16 | element, vr, length, position + 8
        return group << 16 | element, *self.other_header(data, position, group, vr)

    def note(self, outline: bytes, vr: bytes) -> None:
        """Elements like this one, which has *vr*, tell us nothing."""
        if vr in _SHORT_VRS and len(outline) == 4 + len(vr):
            if len(self.passable) >= _MOST_TAGS:
                self.passable.clear()
            self.passable.add(outline)

    def step_over(self, data: Bytes, position: int) -> int:
        """Where the elements that tell us nothing, from *position* on, end."""
        # Every element of every instance passes here: a run of them at once, a single one by two comparisons and an
        # addition.
        unpack, passable, runs = self.outline.unpack_from, self.passable, self.runs
        size = len(data)
        last = size - _MIN_HEADER
        while position <= last:
            run = runs.get(position)
            if run is not None and run[2] <= size and run[0](data, position) == run[1]:
                position = run[2]
                continue
            start, longest = position, position + _LONGEST_RUN
            while position <= last and position < longest:
                outline, length = unpack(data, position)
                if outline not in passable or length == _UNDEFINED:
                    break
                position += _MIN_HEADER + length
            if position > size:
                raise _Flaw(f"ends inside element {self.name(outline)}")
            if position - start >= _SHORTEST_RUN:
                self.note_run(data, start, position)
            if position < longest:
                break
        return position

    def note_run(self, data: Bytes, start: int, end: int) -> None:
        """From *start* to *end* there are such elements, and no run that is known fitted."""
        self._misses += 1
        if start in self.runs and self._misses % _MISSES:
            return
        heads, layout, position = [], "", start
        while position < end:
            length = self.outline.unpack_from(data, position)[1]
            heads.append(bytes(data[position : position + _MIN_HEADER]))
            layout += f"{_MIN_HEADER}s{length}x"
            position += _MIN_HEADER + length
        if len(self.runs) >= _MOST_RUNS:
            self.runs.clear()
        self.runs[start] = Struct(layout).unpack_from, tuple(heads), end

    def name(self, outline: bytes) -> str:
        """The tag, for people."""
        group, element = self.tag.unpack_from(outline)
        return _name(group << 16 | element)

    def other_header(self, data: Bytes, position: int, group: int, vr: bytes) -> tuple[bytes, int, int]:
        """VR, length and the position of the value, where the length is not the two bytes after the VR."""
        if vr in _LONG_VRS and group != 0xFFFE:
            return vr, self.long.unpack_from(data, position + 8)[0], position + 12
        if vr.isalpha() and group != 0xFFFE:
            return vr, self.short.unpack_from(data, position + 6)[0], position + 8
        # PS3.5 7.5: items and delimiters have no VR. And some writers change to implicit VR inside an explicit
        # data set; pydicom reads them the same way.
        return b"", self.long.unpack_from(data, position + 4)[0], position + 8


_EXPLICIT_LITTLE_ENCODING = _Encoding(explicit=True, order="<")
_IMPLICIT_LITTLE_ENCODING = _Encoding(explicit=False, order="<")
_EXPLICIT_BIG_ENCODING = _Encoding(explicit=True, order=">")


def _name(tag: int) -> str:
    """As the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _walk_meta(data: Bytes, meta: dict[int, Bytes]) -> int:
    """Collect the file meta information, which ends where group 0002 does, whatever its group length says."""
    position = _PREAMBLE_SIZE + 4
    while data[position : position + 2] == b"\x02\x00":
        tag, _, length, value = _EXPLICIT_LITTLE_ENCODING.header(data, position)
        position = _end(data, value, length, "file meta information")
        meta[tag] = data[value:position]
    if _TRANSFER_SYNTAX not in meta:
        raise _Flaw("has no transfer syntax in its file meta information")
    return position


def _walk_dataset(data: Bytes, position: int, transfer_syntax: str, found: dict[int, Bytes], limits: Limits) -> None:
    if transfer_syntax == _DEFLATED:
        data, position = _inflate(data[position:], limits), 0
    if position == len(data):
        raise _Flaw("has no data set")
    encoding = _EXPLICIT_BIG_ENCODING if transfer_syntax == _EXPLICIT_BIG else _EXPLICIT_LITTLE_ENCODING
    if transfer_syntax == _IMPLICIT_LITTLE or not bytes(data[position + 4 : position + 6]).isalpha():
        encoding = _IMPLICIT_LITTLE_ENCODING
    length = _walk_elements(data, position, encoding, found, limits)
    if length == 0 or (length != _UNDEFINED and transfer_syntax in _NATIVE):
        _check_pixel_length(found, length, encoding)


def _walk_elements(data: Bytes, position: int, encoding: _Encoding, found: dict[int, Bytes], limits: Limits) -> int:
    """
    Walk from *position* to the last byte, and put the values we want into *found*.

    Returns:
        The length of the pixel data: 0 without any, undefined where it is fragments or not in PixelData.
    """
    unpack, passable, pixel_length = encoding.outline.unpack_from, encoding.passable, 0
    while position <= len(data) - _MIN_HEADER:
        outline, length = unpack(data, position)
        if outline in passable and length != _UNDEFINED:
            position = encoding.step_over(data, position)
            continue
        tag, vr, length, value = encoding.header(data, position)
        position = value + length
        if length == _UNDEFINED:
            position = _walk_undefined(data, value, vr, tag, encoding, limits)
        elif position > len(data):
            raise _Flaw(f"ends inside element {_name(tag)}")
        if tag in _PIXELS:
            pixel_length = length if tag == _PIXEL_DATA else _UNDEFINED
        elif tag in _WANTED:
            found[tag] = data[value:position]
        else:
            encoding.note(outline, vr)
    rest = data[position:]
    # NUL pads a file to a block size. One of it can be the first byte of a group, two cannot: none is 0000.
    if rest and (len(rest) == 1 or any(rest)):
        raise _Flaw("ends inside an element's header")
    return pixel_length


def _walk_undefined(
    data: Bytes, position: int, vr: bytes, tag: int, encoding: _Encoding, limits: Limits, depth: int = 1
) -> int:
    """Step over a value of undefined length (PS3.5 7.5, A.4); returns where the next element begins."""
    if depth > limits.max_dicom_depth:
        raise _Exceeded(f"nests sequences deeper than {limits.max_dicom_depth}", "max_dicom_depth")
    if vr == b"UN":  # PS3.5 6.2.2, note 4: its items are in implicit VR little endian
        encoding = _IMPLICIT_LITTLE_ENCODING
    fragments = tag == _PIXEL_DATA or vr in {b"OB", b"OW"}
    # Fragments may be most of a file, with a header on almost every page. An attribute's look-up for each would cost.
    passed = data.passed if isinstance(data, ForgetfulView) else None
    while True:
        item, _, length, value = encoding.header(data, position)
        if item == _SEQUENCE_END:
            return value
        if passed is not None:
            passed(position)
        if item != _ITEM:
            raise _Flaw(f"has no item where one belongs in {_name(tag)}")
        if length != _UNDEFINED:
            position = _end(data, value, length, "an item")
        elif fragments:
            raise _Flaw("has a pixel data fragment of undefined length")
        else:
            position = _walk_item(data, value, encoding, limits, depth)


def _walk_item(data: Bytes, position: int, encoding: _Encoding, limits: Limits, depth: int) -> int:
    while True:
        tag, vr, length, value = encoding.header(data, position)
        if tag == _ITEM_END:
            return value
        if length == _UNDEFINED:
            position = _walk_undefined(data, value, vr, tag, encoding, limits, depth + 1)
        else:
            position = _end(data, value, length, "a sequence item")


def _end(data: Bytes, value: int, length: int, what: str) -> int:
    if value + length > len(data):
        raise _Flaw(f"ends inside {what}")
    return value + length


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


def _check_pixel_length(found: dict[int, Bytes], length: int, encoding: _Encoding) -> None:
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
    return int(text) if text.isdigit() and len(text) <= _MAX_INTEGER_STRING else 1


def _uid(value: Bytes | None) -> str:
    # PS3.5 9.1: padded to even length with NUL; some writers use a blank.
    return bytes(value or b"").rstrip(b"\0 ").decode("ascii", "replace")
