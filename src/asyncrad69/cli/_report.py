"""``rad69 report``: what became of every instance of a job."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

import asyncrad69.jobs
from asyncrad69.jobs import STATES

from ._html_report import ReportRow, html_report
from ._jobs import JOB, JOB_DEBUG, job_errors

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrad69.jobs import JobRow, JobState

    from ._html_report import Outcome

_FORMATS: Final = ("csv", "json", "html")


@click.command
@JOB
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="csv", show_default=True, help="In which form.")
@click.option("--json", "kind", flag_value="json", help="The same as --format json.")
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help="Only instances in this state; repeat it for more.",
)
@JOB_DEBUG
def report(*, job: Path, kind: str, states: tuple[JobState, ...], debug: bool) -> None:
    """
    Write what became of every instance of a job.

    It goes to stdout. The table's first columns are those that 'rad69 plan' and 'rad69 get --table' read: the report of
    what is missing can be planned again.
    """
    with job_errors(debug=debug), asyncrad69.jobs.Job.open(job) as opened:
        if kind == "html":
            as_of = f"The job as it was on {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            rows = map(_report_row, opened.rows(states or STATES))
            sys.stdout.write(html_report(rows, title=job.name, subtitle=as_of))
            return
        write = opened.write_json if kind == "json" else opened.write_csv
        write(sys.stdout, states or STATES)


def _report_row(row: JobRow) -> ReportRow:
    outcomes: dict[JobState, Outcome] = {"done": "received", "refused": "refused"}
    return ReportRow(
        study_instance_uid=row.reference.study_instance_uid,
        series_instance_uid=row.reference.series_instance_uid,
        sop_instance_uid=row.reference.sop_instance_uid,
        outcome=outcomes.get(row.state, "missing"),
        size_bytes=row.size_bytes,
        finished_at_s=row.time.timestamp() if row.time and row.state == "done" else None,
        error_class=row.error or ("pending" if row.state == "pending" else ""),
        code=row.code,
        path=str(row.path) if row.path else None,
    )
