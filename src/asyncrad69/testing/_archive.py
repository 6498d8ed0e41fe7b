"""What the source holds: instances by SOP Instance UID, each a whole Part 10 file, on disk or in memory."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.errors import InvalidDicomError

from asyncrad69._errors import InvalidReferenceError
from asyncrad69._references import InstanceReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: A folder, a file, or a Dataset, whose ``file_meta`` names its transfer syntax.
Holding: TypeAlias = str | os.PathLike[str] | Dataset

_UIDS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """
    One instance as it is kept.

    Args:
        reference: Where it belongs.
        transfer_syntax_uid: Its encoding, (0002,0010).
        content: The Part 10 file: its path, or its bytes.
        size_bytes: Its length when it was indexed.
    """

    reference: InstanceReference
    transfer_syntax_uid: str
    content: Path | bytes = field(repr=False)
    size_bytes: int

    @property
    def on_disk(self) -> bool:
        """Whether reading it blocks."""
        return isinstance(self.content, Path)

    def pieces(self, read_size: int) -> Iterator[bytes]:
        """The file as it is, *read_size* bytes at a time."""
        try:
            with _opened(self.content) as file:
                while piece := file.read(read_size):
                    yield piece
        except OSError as exc:
            # Without its cause: a path may hold a patient's name, and this ends in the server's log.
            uid = self.reference.sop_instance_uid
            raise RuntimeError(f"instance {uid} can no longer be read (errno {exc.errno})") from None


def _opened(content: Path | bytes) -> BinaryIO:
    return BytesIO(content) if isinstance(content, bytes) else content.open("rb")


class Archive:
    """
    Instances by SOP Instance UID, in the order they were found. The first of each UID counts.

    Args:
        holdings: Folders, of which everything below is taken that is DICOM and has the three UIDs; files and
            Datasets, which must be and have that. Datasets are encoded here, once.
        repository_unique_id: Where the references say the instances are.

    Raises:
        FileNotFoundError: There is no such folder or file.
        InvalidDicomError: A file that was named is not a DICOM file.
        InvalidReferenceError: A file or Dataset that was given lacks a UID.
    """

    def __init__(self, holdings: Iterable[Holding], *, repository_unique_id: str) -> None:
        self._instances: dict[str, StoredInstance] = {}
        for holding in holdings:
            for stored in _stored(holding, repository_unique_id):
                self._instances.setdefault(stored.reference.sop_instance_uid, stored)

    def __iter__(self) -> Iterator[StoredInstance]:
        return iter(self._instances.values())

    def datasets(self) -> Iterator[Dataset]:
        """The headers of all instances."""
        for stored in self:
            with _opened(stored.content) as file, warnings.catch_warnings(action="ignore"):
                yield dcmread(file, stop_before_pixels=True)

    def maybe_instance(self, sop_instance_uid: str) -> StoredInstance | None:
        """The instance, if it is held."""
        return self._instances.get(sop_instance_uid)


def _stored(holding: Holding, repository_unique_id: str) -> Iterator[StoredInstance]:
    if isinstance(holding, Dataset):
        yield indexed(_encoded(holding), repository_unique_id)
    elif (path := Path(holding)).is_dir():
        yield from _found_below(path, repository_unique_id)
    else:
        yield indexed(path, repository_unique_id)


def _encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _found_below(folder: Path, repository_unique_id: str) -> Iterator[StoredInstance]:
    # A folder has no order of its own, and which of two equal UIDs is first depends on it.
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield indexed(path, repository_unique_id)
        except (InvalidDicomError, InvalidReferenceError):
            continue  # not an image: a README, a DICOMDIR


def indexed(content: Path | bytes, repository_unique_id: str) -> StoredInstance:
    with _opened(content) as file:
        transfer_syntax, *uids = _header(file)
        size = file.seek(0, os.SEEK_END)
    reference = InstanceReference(*uids, repository_unique_id=repository_unique_id)
    return StoredInstance(reference, transfer_syntax, content, size)


def _header(file: BinaryIO) -> list[str]:
    """The transfer syntax, and the study, series and SOP Instance UID; empty where there is none."""
    try:
        # What pydicom finds odd is served as it is, and no matter for the warnings of the test that serves it.
        with warnings.catch_warnings(action="ignore"):
            header = dcmread(file, stop_before_pixels=True, specific_tags=list(_UIDS))
            uids = [str(header.get(keyword, "")) for keyword in _UIDS]
    except (ValueError, NotImplementedError) as exc:
        raise InvalidDicomError("the header is damaged") from exc
    if transfer_syntax := header.file_meta.get("TransferSyntaxUID"):
        return [str(transfer_syntax), *uids]
    raise InvalidDicomError("no Transfer Syntax UID in the file meta information (PS3.10 7.1)")
