"""The Dataset of a document, and the header of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom.uid import UID

from asyncrad69 import InvalidInstanceError, InvalidReferenceError
from asyncrad69._dicom import read_dataset, read_header
from test_walk import DEFLATED, LITTLE, WHOLE, file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_dataset_has_its_pixels_and_not_the_file() -> None:
    """Pixel data is there, and the bytes it was read from are not kept."""
    dataset = read_dataset(WHOLE["explicit"])
    assert dataset.SOPInstanceUID == UID("1.2.3.4")
    assert len(dataset.PixelData) == 48
    assert dataset.buffer is None


def test_a_bare_data_set_is_read_when_forced() -> None:
    """Without preamble and DICM only force=True reads it."""
    with pytest.raises(InvalidInstanceError, match="InvalidDicomError"):
        read_dataset(LITTLE.image())
    assert read_dataset(LITTLE.image(), force=True).Rows == 4


def test_whatever_pydicom_raises_becomes_ours() -> None:
    """A broken deflate stream, as one of many kinds; no value is in the message."""
    with pytest.raises(InvalidInstanceError, match="pydicom cannot read the instance: error"):
        read_dataset(file(b"\xff" * 40, DEFLATED))


def test_a_header_is_read_from_a_file(tmp_path: Path) -> None:
    """Everything but the pixels; not DICOM is the caller's mistake."""
    path = tmp_path / "a"
    path.write_bytes(WHOLE["explicit"])
    assert read_header(path).Rows == 4
    assert "PixelData" not in read_header(path)
    path.write_bytes(b"x" * 200)
    with pytest.raises(InvalidReferenceError, match="not a DICOM file"):
        read_header(path)
    path.write_bytes(file(b"\xff" * 40, DEFLATED))
    with pytest.raises(InvalidReferenceError, match="a damaged DICOM file"):
        read_header(path)
