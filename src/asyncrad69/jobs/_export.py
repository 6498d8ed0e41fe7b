"""A job as a table or as JSON, written as it is read."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING, Any, Final

from asyncrad69._reference_files import REFERENCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._words import JobRow, JobStatus

# First those of a table of references, so that a report of what is missing is the plan of another job.
_COLUMNS: Final = {
    **REFERENCE_COLUMNS,
    "State": "state",
    "Attempts": "attempts",
    "Path": "path",
    "SizeBytes": "size_bytes",
    "SHA256": "sha256",
    "Error": "error",
    "Code": "code",
    "Message": "message",
    "Time": "time",
}


def row_dict(row: JobRow) -> dict[str, Any]:
    """A row as plain values, ready for JSON."""
    reference = row.reference
    return {
        "study_instance_uid": reference.study_instance_uid,
        "series_instance_uid": reference.series_instance_uid,
        "sop_instance_uid": reference.sop_instance_uid,
        "repository_unique_id": reference.repository_unique_id,
        "home_community_id": reference.home_community_id,
        "state": row.state,
        "attempts": row.attempts,
        "path": None if row.path is None else str(row.path),
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "error": row.error,
        "code": row.code,
        "message": row.message,
        "time": None if row.time is None else row.time.isoformat(timespec="milliseconds"),
    }


def status_dict(status: JobStatus) -> dict[str, Any]:
    """A status as plain values, ready for JSON."""
    return {
        "complete": status.complete,
        "studies": status.studies,
        "series": status.series,
        "instances": status.instances,
        "pending": status.pending,
        "done": status.done,
        "refused": status.refused,
        "missing": status.missing,
        "done_bytes": status.done_bytes,
        "reasons": [{"error": error, "code": code, "instances": count} for error, code, count in status.reasons],
    }


def write_csv(rows: Iterable[JobRow], file: IO[str]) -> None:
    """A line for each row."""
    # A text file, and stdout, write the line ends of their system themselves.
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        values = row_dict(row)
        writer.writerow(values[name] for name in _COLUMNS.values())


def write_json(rows: Iterable[JobRow], summary: Mapping[str, Any], file: IO[str]) -> None:
    """*summary* and, under ``"rows"``, an object for each row, on a line of its own."""
    file.write(json.dumps(dict(summary), indent=2).rstrip("}\n") + ',\n  "rows": [')
    for number, row in enumerate(rows):
        file.write(("," if number else "") + "\n    " + json.dumps(row_dict(row)))
    file.write("\n  ]\n}\n")
