"""``rad69 plan``: a job made of tables and manifests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import asyncrad69.jobs

from ._failures import ExitCode
from ._jobs import JOB_DEBUG, JOB_JSON, SHARD, job_errors, print_json, rejected_dicts
from ._output import _field, _plural, in_options
from ._progress import stderr_line

if TYPE_CHECKING:
    from asyncrad69.jobs import JobStatus, Rejected, Shard

_SHOWN: Final = 20


@click.command
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TABLE|KOS...",
)
@click.option(
    "-o", "--output", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The job to make."
)
@click.option("--rejected", is_flag=True, help="Take what rejection notes among the manifests list, too.")
@SHARD
@JOB_JSON
@JOB_DEBUG
@click.pass_context
def plan(
    ctx: click.Context,
    *,
    files: tuple[Path, ...],
    path: Path,
    rejected: bool,
    shard: Shard | None,
    as_json: bool,
    debug: bool,
) -> None:
    """
    Plan a job: a bulk retrieve of what tables and manifests list.

    Give CSV tables and Key Object Selections. Lines that name no instance are listed with their number and what is
    wrong; the others are planned all the same, and the exit code is 3. Then: rad69 run JOB --to URL -o DIR.
    """
    with job_errors(debug=debug), asyncrad69.jobs.Job.plan(path, files=files, shard=shard, rejected=rejected) as job:
        status, left_out = job.status(), job.rejected()
    if as_json:
        counts = {"studies": status.studies, "series": status.series, "instances": status.instances}
        print_json({"job": str(path), **counts, "rejected": rejected_dicts(left_out)})
    else:
        _say(path, status, left_out)
    ctx.exit(ExitCode.INCOMPLETE if left_out else ExitCode.COMPLETE)


def _say(path: Path, status: JobStatus, rejected: list[Rejected]) -> None:
    click.echo(_field("job", str(path)))
    click.echo(_field("instances", f"{status.instances:,}"))
    click.echo(_field("series", f"{status.series:,} in {_plural(status.studies, 'study', 'studies')}"))
    click.echo(_field("rejected", f"{len(rejected):,}"))
    for each in rejected[:_SHOWN]:
        stderr_line(f"rejected: {in_options(str(each))}")
    if len(rejected) > _SHOWN:
        stderr_line(f"and {len(rejected) - _SHOWN:,} more: rad69 status {path} --json has them all")
