"""
pydicom Datasets out of whole files in memory, quickly.

`pydicom.dcmread` reads from any file-like object, with three calls and a generator step per element, which is most of
what a retrieve of small instances costs. Here the whole file is at hand, so its elements are cut out of it in one
loop: into the same raw elements, which pydicom decodes when they are first looked at. Those that instances of a series
have in common are the same objects in all their Datasets, as nobody can change them: most of the time that many
Datasets took was the garbage collector's, which visits each object time and again. Where a file is not of the usual
kind, or where pydicom would guess or warn, its own reader is used.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from struct import Struct, error as struct_error
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

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

from ._elements import LONG_VRS, MIN_HEADER, SHORT_VRS, UNDEFINED
from ._likeness import Likeness

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from ._likeness import Run, Runs

_Elements: TypeAlias = "dict[BaseTag, DataElement | RawDataElement]"
_Encoding: TypeAlias = "str | MutableSequence[str]"
# What runs at positions of a file are made into: their elements, and the character encodings if they give them.
_Shared: TypeAlias = "dict[tuple[Run, int], tuple[_Elements, _Encoding | None]]"
_Kind = TypeVar("_Kind", FileDataset, FileMetaDataset)

_PREAMBLE_SIZE: Final = 128
_META_START: Final = 132
_META_GROUP: Final = b"\x02\x00"
_LITTLE_ENDIAN: Final = True
_CHARACTER_SET: Final = 0x00080005
_TRANSFER_SYNTAX: Final = BaseTag(0x00020010)
_PIXEL_DATA: Final = 0x7FE00010

# The standard has some 5,000; private ones have no end.
_MOST_TAGS: Final = 16 * 1024
# Of runs at positions. A series has some ten runs, each at several positions where values before them vary in length.
_MOST_RUNS: Final = 128

_EXPLICIT: Final = Struct("<6sH").unpack_from
_IMPLICIT: Final = Struct("<4sL").unpack_from
_LONG: Final = Struct("<L").unpack_from
_TAG: Final = Struct("<HH").unpack

_VRS: Final = {vr: vr.decode() for vr in SHORT_VRS | LONG_VRS}
_WITH_LONG_LENGTH: Final = frozenset(vr.decode() for vr in LONG_VRS)

# RawDataElement's own constructor and _make are Python functions around this.
_new_element: Final = partial(tuple.__new__, RawDataElement)

# Rare enough for pydicom's reader, as are those that were registered with it as private.
_OTHERS: Final = {ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}


class _UnusualError(Exception):
    """This file is for pydicom's own reader."""


class _Heads(dict[bytes, tuple[BaseTag, str | None, bool]]):
    """
    What an element begins with, tag and VR, decoded once for all elements alike; in implicit VR there is only the tag.

    One tag object serves all Datasets: half of what one is made of are tags. The third value is whether the length is
    what follows, and the element means nothing to the reading.

    Raises:
        KeyError: Not a VR of the standard.
    """

    def __missing__(self, head: bytes) -> tuple[BaseTag, str | None, bool]:
        if len(self) >= _MOST_TAGS:
            self.clear()
        group, element = _TAG(head[:4])
        code = head[4:]
        tag = BaseTag(group << 16 | element)
        usual = code not in LONG_VRS and tag != _CHARACTER_SET
        known = self[head] = tag, _VRS[code] if code else None, usual
        return known


_heads: Final = _Heads()


class DatasetReader:
    """
    Reads the files of one series, or any others.

    Args:
        likeness: What is known of their elements.
    """

    def __init__(self, likeness: Likeness | None = None) -> None:
        self.likeness = likeness or Likeness()
        self._shared: _Shared = {}

    def __reduce__(self) -> tuple[type[DatasetReader], tuple[()]]:
        """An instance is copied and pickled without what is known of others."""
        return DatasetReader, ()

    def maybe(self, data: bytes) -> FileDataset | None:
        """
        What ``pydicom.dcmread`` gives for *data*, without its reference to *data*; ``None`` where it has to be asked.

        Args:
            data: A DICOM file (PS3.10) that is whole.
        """
        try:
            return self._dataset(data)
        except (_UnusualError, struct_error, KeyError):
            return None

    def _dataset(self, data: bytes) -> FileDataset:
        if data[_PREAMBLE_SIZE:_META_START] != b"DICM":
            raise _UnusualError
        head = _Reading(data, self.likeness.explicit, self._shared, implicit=False)
        position = _META_START
        while data[position : position + 2] == _META_GROUP:
            position = head.step(position)
        if position >= len(data):
            raise _UnusualError
        # PS3.5 9.1: padded to even length with NUL; some writers use a blank.
        transfer_syntax = (head.elements[_TRANSFER_SYNTAX].value or b"").rstrip(b"\0 ").decode("ascii", "replace")
        if not transfer_syntax or transfer_syntax in _OTHERS or transfer_syntax in PrivateTransferSyntaxes:
            raise _UnusualError
        implicit = transfer_syntax == ImplicitVRLittleEndian
        if implicit and data[position + 4 : position + 6].isupper():  # pydicom: it is explicit all the same
            raise _UnusualError
        runs = self.likeness.implicit if implicit else self.likeness.explicit
        body = _Reading(data, runs, self._shared, implicit=implicit)
        while position < len(data):
            position = body.step(position)
        if position > len(data):
            raise _UnusualError
        meta = _META.cast(head.elements)
        dataset = _DATASETS[implicit].cast(body.elements, file_meta=meta, preamble=data[:_PREAMBLE_SIZE])
        encoding = body.encoding or default_encoding
        dataset.set_original_encoding(implicit, is_little_endian=True, character_encoding=encoding)
        return dataset


class _Reading:
    """
    One data set.

    Args:
        data: The file, or a run of it.
        runs: What is known of its elements.
        shared: Where what was made of runs is kept.
        implicit: Whether it is in implicit VR.
        offset: Where in the file *data* begins.

    Attributes:
        elements: By tag, undecoded, but for sequences of undefined length.
        encoding: The character encodings (PS3.3 C.12.1.1.2) as Python calls them; ``None`` if they are not given.
    """

    def __init__(self, data: bytes, runs: Runs, shared: _Shared, *, implicit: bool, offset: int = 0) -> None:
        self.elements: _Elements = {}
        self.encoding: _Encoding | None = None
        self._data = data
        self._runs = runs
        self._shared = shared
        self._implicit = implicit
        self._offset = offset
        self._head = _IMPLICIT if implicit else _EXPLICIT

    def step(self, position: int) -> int:
        """Read the element at *position*, or the run of elements that is known there; returns where the next begins."""
        head, length = self._head(self._data, position)
        run = self._runs.at(self._data, position, head)
        if run is None:
            return self._element(head, length, position)
        elements, encoding = self._shared.get((run, position)) or self._read(run, position)
        self.elements.update(elements)
        self.encoding = encoding or self.encoding
        return position + len(run.data)

    def _read(self, run: Run, position: int) -> tuple[_Elements, _Encoding | None]:
        """The elements of *run* for all Datasets that have it at *position*."""
        reading = _Reading(run.data, self._runs, {}, implicit=self._implicit, offset=position)
        end = 0
        while end < len(run.data):
            head, length = self._head(run.data, end)
            end = reading._element(head, length, end)
        if len(self._shared) >= _MOST_RUNS:
            self._shared.clear()
        self._shared[run, position] = read = reading.elements, reading.encoding
        return read

    def _element(self, head: bytes, length: int, position: int) -> int:
        tag, vr, usual = _heads[head]
        start = position + MIN_HEADER
        if not usual and vr in _WITH_LONG_LENGTH:
            length = _LONG(self._data, start)[0]
            start += 4
        if length == UNDEFINED:
            return self._undefined(tag, vr or dictionary_VR(tag), start)
        position = start + length
        value = self._data[start:position] if length else empty_value_for_VR(vr, raw=True)
        raw = _new_element((tag, vr, length, value, start + self._offset, self._implicit, True, True, False))
        self.elements[tag] = raw
        if not usual and tag == _CHARACTER_SET:
            self.encoding = convert_encodings(convert_raw_data_element(raw).value)
        return position

    def _undefined(self, tag: BaseTag, vr: str, start: int) -> int:
        """Read a value of undefined length (PS3.5 7.5, A.4) as pydicom does; returns where the next element begins."""
        file = BytesIO(self._data)
        file.seek(start)
        if vr == "SQ":
            encoding = self.encoding or default_encoding
            sequence = read_sequence(file, self._implicit, _LITTLE_ENDIAN, UNDEFINED, encoding)
            self.elements[tag] = DataElement(tag, vr, sequence, start, is_undefined_length=True)
        elif int(tag) == _PIXEL_DATA and vr in {"OB", "OW"}:
            value = read_undefined_length_value(file, _LITTLE_ENDIAN, SequenceDelimiterTag)
            self.elements[tag] = RawDataElement(tag, vr, UNDEFINED, value, start, self._implicit, _LITTLE_ENDIAN)
        else:
            raise _UnusualError
        return file.tell()


class _Mould(Generic[_Kind]):
    """Makes Datasets like one that has no elements: their constructors take longer than the reading of one does."""

    def __init__(self, dataset: _Kind, elements: _Elements) -> None:
        state = vars(dataset)
        self._kind: type[_Kind] = type(dataset)
        self._elements = next(name for name, value in state.items() if value is elements)
        self._own = [(name, value) for name, value in state.items() if isinstance(value, dict)]
        self._state = state

    def cast(self, elements: _Elements, **attributes: object) -> _Kind:
        """One with *elements* and *attributes*."""
        dataset: _Kind = self._kind.__new__(self._kind)
        state = vars(dataset)
        state.update(self._state, **attributes)
        for name, value in self._own:
            state[name] = value.copy()
        state[self._elements] = elements
        return dataset


def _meta_mould() -> _Mould[FileMetaDataset]:
    elements: _Elements = {}
    meta = FileMetaDataset(elements)
    meta.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)
    return _Mould(meta, elements)


def _dataset_mould(*, implicit: bool) -> _Mould[FileDataset]:
    elements: _Elements = {}
    dataset = FileDataset(BytesIO(), elements, is_implicit_VR=implicit, is_little_endian=True)
    dataset.buffer = None
    return _Mould(dataset, elements)


_META: Final = _meta_mould()
_DATASETS: Final = {implicit: _dataset_mould(implicit=implicit) for implicit in (False, True)}
