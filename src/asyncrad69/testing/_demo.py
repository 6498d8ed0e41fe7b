"""The demo archive: pydicom's example studies and a CT series as long as wanted, of invented patients."""

from __future__ import annotations

import uuid
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._archive import Holding

_ROWS = 512
_COLUMNS = 512
_RADIUS = 200
_INTERCEPT = -1024  # Hounsfield units of a stored zero: air
_AIR = (0).to_bytes(2, "little")
_TISSUE = (40 - _INTERCEPT).to_bytes(2, "little")


def demo_holdings(slices: int) -> Iterator[Holding]:
    """81 small instances of three patients, then a CT series of *slices* instances of 512 KiB each."""
    yield Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"
    yield from ct_series(slices)


def ct_series(slices: int) -> Iterator[Dataset]:
    """A cylinder of water: the same datasets each time, no two slices alike."""
    plane = b"".join(_row(y) for y in range(_ROWS))
    for index in range(slices):
        # One row and one column further per slice. 513 samples are coprime to 2**18: no slice repeats.
        shift = 2 * (_COLUMNS + 1) * index % len(plane)
        yield _ct_slice(index, plane[shift:] + plane[:shift])


def _row(y: int) -> bytes:
    half = isqrt(max(0, _RADIUS**2 - (y - _ROWS // 2) ** 2))
    margin = _AIR * (_COLUMNS // 2 - half)
    return margin + _TISSUE * (2 * half) + margin


def _ct_slice(index: int, pixels: bytes) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = _uid(f"instance/{index}")
    dataset.Modality = "CT"
    _describe_study(dataset)
    dataset.SeriesInstanceUID = _uid("series")
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [-256, -256, index]
    _describe_pixels(dataset)
    dataset.PixelData = pixels
    return dataset


def _describe_study(dataset: Dataset) -> None:
    dataset.PatientName = "Phantom^Water"
    dataset.PatientID = "DEMO-1"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = _uid("study")
    dataset.StudyID = "1"
    dataset.StudyDate = "20200101"
    dataset.StudyTime = "120000"
    dataset.StudyDescription = "Simulated source, demo archive"
    dataset.AccessionNumber = "DEMO-1"


def _describe_pixels(dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = _ROWS
    dataset.Columns = _COLUMNS
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = _INTERCEPT
    dataset.RescaleSlope = 1


def _uid(name: str) -> str:
    """A UID made of a UUID (PS3.5 B.2), the same for the same name."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:asyncrad69:demo:{name}').int}"
