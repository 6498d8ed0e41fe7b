"""Datasets out of document bytes. With `_dataset` the only room of this floor that knows pydicom."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from ._dataset import DatasetReader
from ._errors import InvalidInstanceError, InvalidReferenceError

if TYPE_CHECKING:
    from os import PathLike

#: What pydicom makes of a file; the type that `Instance.dataset` has.
Dataset: TypeAlias = FileDataset


def read_dataset(data: bytes, reader: DatasetReader | None = None, *, force: bool = False) -> Dataset:
    """
    The Dataset in *data*, with its pixel data; it keeps no reference to *data* beyond its own values.

    Args:
        data: A DICOM file (PS3.10).
        reader: One that knows others like it.
        force: Whether it may have no preamble.

    Raises:
        InvalidInstanceError: pydicom cannot read it.
    """
    try:
        dataset = (reader or DatasetReader()).maybe(data)
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
