"""Small pictures of series, for a report. Needs the extra ``report``: numpy and pillow."""

from __future__ import annotations

import base64
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom import Dataset

    from ._html_report import ReportRow

# Shown at half of it, sharp on dense screens.
_EDGE: Final = 160


def thumbnails(rows: Iterable[ReportRow]) -> dict[str, str]:
    """
    A picture of the middle instance of each series that is on disk, as a ``data:`` URI by Series Instance UID.

    Series without a picture (documents, waveforms), and those whose transfer syntax nothing here decodes, have none.
    """
    paths: dict[str, list[str]] = {}
    for row in rows:
        if row.outcome == "received" and row.path is not None:
            paths.setdefault(row.series_instance_uid, []).append(row.path)
    pictures = ((uid, _maybe_picture(of_series[len(of_series) // 2])) for uid, of_series in paths.items())
    return {uid: picture for uid, picture in pictures if picture}


def _maybe_picture(path: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _data_uri(_image(dcmread(path)))
    except Exception:  # noqa: BLE001 - pixels and their decoders fail in any way; the report matters more
        return None


def _image(dataset: Dataset) -> Image.Image:
    frames = int(dataset.get("NumberOfFrames") or 1)
    pixels = pixel_array(dataset, index=frames // 2)
    if pixels.ndim == 3:
        return Image.fromarray(pixels.astype(np.uint8), "RGB")
    return Image.fromarray(_grey(dataset, pixels), "L")


def _grey(dataset: Dataset, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """8 bits: the first window of the dataset, or else from the darkest to the brightest (PS3.3 C.11.2)."""
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset, index=0).astype(float)
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        shares = 1 - shares
    return (shares * 255).astype(np.uint8)


def _data_uri(image: Image.Image) -> str:
    image.thumbnail((_EDGE, _EDGE))
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
