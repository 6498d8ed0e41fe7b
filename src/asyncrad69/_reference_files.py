"""References out of a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._errors import InvalidReferenceError
from ._references import InstanceReference, references_from, valid_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

#: The columns of a table of references as we write it, and what they have of an `InstanceReference`.
REFERENCE_COLUMNS: Final = {
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "RepositoryUniqueId": "repository_unique_id",
    "HomeCommunityId": "home_community_id",
}

# Column names as others write them, in lower case and without blanks, hyphens and underscores.
_SPELLINGS = {
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
    references = references_from(_strictly(read_table(path)))
    if not references:
        raise InvalidReferenceError("the table lists no instances: there is no line below its header")
    return references


def _strictly(lines: Iterable[tuple[int, InstanceReference | InvalidReferenceError]]) -> Iterator[InstanceReference]:
    for number, named in lines:
        if isinstance(named, InvalidReferenceError):
            raise InvalidReferenceError(f"line {number}: {named}") from None
        yield named


def read_table(path: str | PathLike[str]) -> Iterator[tuple[int, InstanceReference | InvalidReferenceError]]:
    """
    The lines of a CSV file as `references_from_table` reads it, one after the other: the number of each, and the
    instance it names or what is wrong with it. The file may be larger than memory.

    Raises:
        InvalidReferenceError: A column is not there, or from here on it is not CSV in UTF-8.
        OSError: The file cannot be read.
    """
    # The csv module does line ends itself.
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        try:
            header = file.readline()
            rows = csv.reader(file, delimiter=_delimiter(header))
            columns = _columns(next(csv.reader([header], delimiter=_delimiter(header)), []))
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield 1 + rows.line_num, _maybe_reference(row, columns)
        except UnicodeDecodeError:
            raise InvalidReferenceError("not a CSV file: it is not UTF-8 text") from None
        except csv.Error:  # a field beyond csv.field_size_limit(): a quotation mark that is never closed
            raise InvalidReferenceError(f"line {1 + rows.line_num}: not a CSV file: a field without an end") from None


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _columns(header: list[str]) -> dict[str, int]:
    names = ["".join(char for char in name.lower() if char not in " -_") for name in header]
    columns = {field: names.index(name) for field, spelled in _SPELLINGS.items() for name in spelled if name in names}
    if absent := [field for field in _REQUIRED if field not in columns]:
        raise InvalidReferenceError(
            f"line 1: no column {', '.join(absent)}. The first line names the columns, e.g. "
            "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID"
        )
    return columns


def _maybe_reference(row: list[str], columns: dict[str, int]) -> InstanceReference | InvalidReferenceError:
    values = {field: row[index].strip() if index < len(row) else "" for field, index in columns.items()}
    try:
        study, series, instance = (valid_uid(values[field], field) for field in _REQUIRED)
        return InstanceReference(
            study,
            series,
            instance,
            repository_unique_id=values.get("repository_unique_id") or None,
            home_community_id=values.get("home_community_id") or None,
        )
    except InvalidReferenceError as exc:
        return exc
