"""
pydicom Datasets out of whole files in memory, quickly.

`pydicom.dcmread` reads from any file-like object, with three calls and a generator step per element, which is most of
what a retrieve of small instances costs. Here the whole file is at hand, so its elements are cut out of it in one
loop: into the same raw elements, which pydicom decodes when they are first looked at. Where a file is not of the usual
kind, or where pydicom would guess or warn, its own reader is used.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from struct import Struct, error as struct_error
from typing import TYPE_CHECKING, Final, TypeAlias

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_sequence
from pydicom.fileutil import read_undefined_length_value
from pydicom.tag import BaseTag, SequenceDelimiterTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    PrivateTransferSyntaxes,
)

if TYPE_CHECKING:
    from collections.abc import MutableSequence

_Elements: TypeAlias = "dict[BaseTag, DataElement | RawDataElement]"
_Encoding: TypeAlias = "str | MutableSequence[str]"

_PREAMBLE_SIZE: Final = 128
_META_START: Final = 132
_UNDEFINED: Final = 0xFFFFFFFF
_LITTLE_ENDIAN: Final = True
_CHARACTER_SET: Final = 0x00080005
_TRANSFER_SYNTAX: Final = 0x00020010
_PIXEL_DATA: Final = 0x7FE00010

# The standard has some 5,000; private ones have no end.
_MOST_TAGS: Final = 16 * 1024

_EXPLICIT: Final = Struct("<6sH").unpack_from
_IMPLICIT: Final = Struct("<HHL").unpack_from
_LONG: Final = Struct("<L").unpack_from
_HEAD: Final = Struct("<HH2s").unpack

# PS3.5 6.2 and 7.1.2: VRs by the size of their length field.
_SHORT_VRS: Final = {
    vr: vr.decode() for vr in b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
}
_LONG_VRS: Final = {vr: vr.decode() for vr in b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()}
_WITH_LONG_LENGTH: Final = frozenset(_LONG_VRS.values())

# RawDataElement's own constructor and _make are Python functions around this.
_new_element: Final = partial(tuple.__new__, RawDataElement)

# Rare enough for pydicom's reader, as are those that were registered with it as private.
_OTHERS: Final = {ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}


class _UnusualError(Exception):
    """This file is for pydicom's own reader."""


class _Tags(dict[int, BaseTag]):
    """
    One tag object for all elements that have that tag, of all Datasets.

    Half of what a Dataset is made of is tags. The garbage collector visits each, time and again while many Datasets are
    kept, and takes longer for it than the reading does.
    """

    def __missing__(self, number: int) -> BaseTag:
        if len(self) >= _MOST_TAGS:
            self.clear()
        tag = self[number] = BaseTag(number)
        return tag


_tags: Final = _Tags()


class _Heads(dict[bytes, tuple[BaseTag, str, bool]]):
    """
    What stands before the length of an element in explicit VR, tag and VR, decoded once for all elements alike.

    The third value is whether the length is the two bytes that follow and the element means nothing to the reading.

    Raises:
        KeyError: Not a VR of the standard.
    """

    def __missing__(self, head: bytes) -> tuple[BaseTag, str, bool]:
        if len(self) >= _MOST_TAGS:
            self.clear()
        group, element, code = _HEAD(head)
        number = group << 16 | element
        short = code in _SHORT_VRS
        vr = _SHORT_VRS[code] if short else _LONG_VRS[code]
        known = self[head] = _tags[number], vr, short and number != _CHARACTER_SET
        return known


_heads: Final = _Heads()


def maybe_dataset(data: bytes) -> FileDataset | None:
    """
    What ``pydicom.dcmread`` gives for *data*, without its reference to *data*; ``None`` where it has to be asked.

    Args:
        data: A DICOM file (PS3.10) that is whole.
    """
    try:
        return _dataset(data)
    except (_UnusualError, struct_error, KeyError):
        return None


def _dataset(data: bytes) -> FileDataset:
    if data[_PREAMBLE_SIZE:_META_START] != b"DICM":
        raise _UnusualError
    meta, transfer_syntax, position = _meta(data)
    implicit = transfer_syntax == ImplicitVRLittleEndian
    if not transfer_syntax or transfer_syntax in _OTHERS or transfer_syntax in PrivateTransferSyntaxes:
        raise _UnusualError
    if position == len(data):
        raise _UnusualError
    reader = _Reader(data)
    (reader.read_implicit if implicit else reader.read_explicit)(position)
    elements, encoding = reader.elements, reader.encoding
    dataset = FileDataset(BytesIO(), elements, data[:_PREAMBLE_SIZE], meta, implicit, is_little_endian=True)
    dataset.set_original_encoding(implicit, is_little_endian=True, character_encoding=encoding)
    dataset.buffer = None
    return dataset


def _meta(data: bytes) -> tuple[FileMetaDataset, str, int]:
    """The file meta information, the transfer syntax in it, and where it ends."""
    end = _META_START
    while data[end : end + 2] == b"\x02\x00":
        long = data[end + 4 : end + 6] in _LONG_VRS
        end += 12 + _LONG(data, end + 8)[0] if long else 8 + _EXPLICIT(data, end)[1]
    reader = _Reader(data[:end])
    reader.read_explicit(_META_START)
    # PS3.5 9.1: padded to even length with NUL; some writers use a blank.
    transfer_syntax = (
        (reader.elements[BaseTag(_TRANSFER_SYNTAX)].value or b"").rstrip(b"\0 ").decode("ascii", "replace")
    )
    meta = FileMetaDataset(reader.elements)
    meta.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)
    return meta, transfer_syntax, end


class _Reader:
    """
    The elements of one data set.

    Attributes:
        elements: By tag, undecoded, but for sequences of undefined length.
        encoding: The character encodings (PS3.3 C.12.1.1.2) as Python calls them.
    """

    def __init__(self, data: bytes) -> None:
        self.elements: _Elements = {}
        self.encoding: _Encoding = default_encoding
        self._data = data

    def read_explicit(self, position: int) -> None:
        """Read to the end of the data, in explicit VR little endian."""
        # Every element of every instance passes here: local names, plain integers, and no call that can be saved.
        data, elements, heads, unpack, size = self._data, self.elements, _heads, _EXPLICIT, len(self._data)
        new, empty = _new_element, empty_value_for_VR
        while position < size:
            head, length = unpack(data, position)
            tag, vr, usual = heads[head]
            start = position + 8
            if not usual and vr in _WITH_LONG_LENGTH:
                length = _LONG(data, start)[0]
                start += 4
                if length == _UNDEFINED:
                    position = self._read_undefined(tag, vr, start, implicit=False)
                    continue
            position = start + length
            value = data[start:position] if length else empty(vr, raw=True)
            elements[tag] = raw = new((tag, vr, length, value, start, False, True, True, False))
            if not usual and tag == _CHARACTER_SET:
                self._set_encoding(raw)
        if position > size:
            raise _UnusualError

    def read_implicit(self, position: int) -> None:
        """Read to the end of the data, in implicit VR little endian."""
        data, elements = self._data, self.elements
        if data[position + 4 : position + 6].isupper():  # pydicom: it is explicit all the same
            raise _UnusualError
        while position < len(data):
            group, element, length = _IMPLICIT(data, position)
            start = position + 8
            number = group << 16 | element
            tag = _tags[number]
            if length == _UNDEFINED:
                position = self._read_undefined(tag, dictionary_VR(tag), start, implicit=True)
                continue
            position = start + length
            value = data[start:position] if length else empty_value_for_VR(None, raw=True)
            elements[tag] = raw = _new_element((tag, None, length, value, start, True, True, True, False))
            if number == _CHARACTER_SET:
                self._set_encoding(raw)
        if position > len(data):
            raise _UnusualError

    def _set_encoding(self, element: RawDataElement) -> None:
        self.encoding = convert_encodings(convert_raw_data_element(element).value)

    def _read_undefined(self, tag: BaseTag, vr: str, start: int, *, implicit: bool) -> int:
        """Read a value of undefined length (PS3.5 7.5, A.4) as pydicom does; returns where the next element begins."""
        file = BytesIO(self._data)
        file.seek(start)
        if vr == "SQ":
            sequence = read_sequence(file, implicit, _LITTLE_ENDIAN, _UNDEFINED, self.encoding)
            self.elements[tag] = DataElement(tag, vr, sequence, start, is_undefined_length=True)
        elif int(tag) == _PIXEL_DATA and vr in {"OB", "OW"}:
            value = read_undefined_length_value(file, _LITTLE_ENDIAN, SequenceDelimiterTag)
            self.elements[tag] = RawDataElement(tag, vr, _UNDEFINED, value, start, implicit, _LITTLE_ENDIAN)
        else:
            raise _UnusualError
        return file.tell()
