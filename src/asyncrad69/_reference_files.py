"""References out of files: a KOS manifest, a table."""

from __future__ import annotations

import csv
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._dicom import read_header
from ._errors import InvalidReferenceError
from ._references import InstanceReference, references_from, valid_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# PS3.4 B.5: Key Object Selection Document Storage.
_KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


# PS3.16 CID 7011: the titles of documents that list what must not be used any more (IHE RAD TF-3 4.66.4.1.3.1).
_REJECTION_TITLES = {
    "113001": "rejected for quality reasons",
    "113037": "rejected for patient safety reasons",
    "113038": "incorrect modality worklist entry",
    "113039": "data retention policy expired",
}


def references_from_kos(source: Any, *, rejected: bool = False) -> tuple[InstanceReference, ...]:
    """
    The instances that a Key Object Selection manifest lists, in its order: of any number of studies.

    Each series' RetrieveLocationUID (0040,E011) becomes the repository unique id of its instances, and its
    HomeCommunityID (0040,E031), where it has one, their home community. Retrieve URLs (0008,1190) are for WADO and
    not read.

    Args:
        source: A pydicom Dataset, the path of a DICOM file, or its bytes.
        rejected: Whether to take a rejection note: what it lists was withdrawn, and the source may refuse it.

    Raises:
        InvalidReferenceError: Not a DICOM file, not a KOS, one without instances, or a rejection note.
        OSError: The file cannot be read.

    Source: RAD TF-3 4.68, PS3.3 C.17.2.1.
    """
    dataset = read_header(source) if isinstance(source, str | PathLike | bytes) else source
    if str(dataset.get("SOPClassUID", "")) != _KEY_OBJECT_SELECTION:
        raise InvalidReferenceError(
            "not a manifest: its SOP Class is not Key Object Selection Document. A KOS lists the instances of a "
            "study; images and other reports do not"
        )
    title = _REJECTION_TITLES.get(_title(dataset))
    if title and not rejected:
        raise InvalidReferenceError(
            f"a rejection note ({title}), not a manifest: the instances it lists are not to be used. To retrieve them "
            "all the same, pass rejected=True"
        )
    references = references_from(_listed(dataset))
    if not references:
        raise InvalidReferenceError("the manifest lists no instances: its evidence sequence (0040,A375) is empty")
    return references


def _title(dataset: Any) -> str:
    """The code of the document's title; empty if it has none, or not one of DICOM's."""
    codes = dataset.get("ConceptNameCodeSequence", None) or ()
    return next((str(each.get("CodeValue", "")) for each in codes if each.get("CodingSchemeDesignator") == "DCM"), "")


def _listed(dataset: Any) -> Iterator[InstanceReference]:
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", None) or ():
        for series in study.get("ReferencedSeriesSequence", None) or ():
            repository = str(series.get("RetrieveLocationUID", None) or "") or None
            home = str(series.get("HomeCommunityID", None) or "")
            for instance in series.get("ReferencedSOPSequence", None) or ():
                yield InstanceReference(
                    str(study.get("StudyInstanceUID", "")),
                    str(series.get("SeriesInstanceUID", "")),
                    str(instance.get("ReferencedSOPInstanceUID", "")),
                    repository_unique_id=repository,
                    home_community_id=f"urn:oid:{home}" if home else None,
                )


# Column names, in lower case and without blanks, hyphens and underscores.
_COLUMNS = {
    "study_instance_uid": ("studyinstanceuid", "studyuid"),
    "series_instance_uid": ("seriesinstanceuid", "seriesuid"),
    "sop_instance_uid": ("sopinstanceuid", "instanceuid", "documentuniqueid"),
    "repository_unique_id": ("repositoryuniqueid", "repository", "retrievelocationuid"),
    "home_community_id": ("homecommunityid", "homecommunity"),
}
_REQUIRED = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def references_from_table(path: str | PathLike[str]) -> tuple[InstanceReference, ...]:
    """
    The instances that a CSV file lists, one a line, in its order.

    Its first line names the columns: StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID, and where wanted
    RepositoryUniqueId and HomeCommunityId; spelled as here, as ``study_instance_uid`` or as ``study uid``. Other
    columns are ignored. Commas, semicolons and tabs separate; blank lines are skipped.

    Raises:
        InvalidReferenceError: A column is not there, or a line is wrong; the message names the line.
        OSError: The file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidReferenceError("not a CSV file: it is not UTF-8 text") from None
    lines = text.splitlines(keepends=True)
    rows = csv.reader(lines, delimiter=_delimiter(lines[0] if lines else ""))
    try:
        columns = _columns(next(rows, []))
        references = references_from(_rows(rows, columns))
    except csv.Error:  # a field beyond csv.field_size_limit(): a quotation mark that is never closed
        raise InvalidReferenceError(f"line {rows.line_num}: not a CSV file: a field without an end") from None
    if not references:
        raise InvalidReferenceError("the table lists no instances: there is no line below its header")
    return references


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _columns(header: list[str]) -> dict[str, int]:
    names = ["".join(char for char in name.lower() if char not in " -_") for name in header]
    columns = {field: names.index(name) for field, spellings in _COLUMNS.items() for name in spellings if name in names}
    if absent := [field for field in _REQUIRED if field not in columns]:
        raise InvalidReferenceError(
            f"line 1: no column {', '.join(absent)}. The first line names the columns, e.g. "
            "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID"
        )
    return columns


def _rows(rows: Iterable[list[str]], columns: dict[str, int]) -> Iterator[InstanceReference]:
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        values = {field: row[index].strip() if index < len(row) else "" for field, index in columns.items()}
        try:
            study, series, instance = (valid_uid(values[field], field) for field in _REQUIRED)
            yield InstanceReference(
                study,
                series,
                instance,
                repository_unique_id=values.get("repository_unique_id") or None,
                home_community_id=values.get("home_community_id") or None,
            )
        except InvalidReferenceError as exc:
            raise InvalidReferenceError(f"line {number}: {exc}") from None
