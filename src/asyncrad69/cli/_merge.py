"""``rad69 merge``: shards that were run apart, as one job."""

from __future__ import annotations

from pathlib import Path

import click

import asyncrad69.jobs
from asyncrad69.jobs._export import status_dict

from ._jobs import JOB_DEBUG, JOB_JSON, job_errors, print_json, status_lines


@click.command
@click.argument("jobs", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The job to make."
)
@JOB_JSON
@JOB_DEBUG
def merge(*, jobs: tuple[Path, ...], path: Path, as_json: bool, debug: bool) -> None:
    """
    Make one job of several, such as shards run apart.

    What several of them have is in it once: as a file, if one has it.
    """
    with job_errors(debug=debug), asyncrad69.jobs.Job.merge(jobs, path) as merged:
        status = merged.status()
    if as_json:
        print_json({"job": str(path), **status_dict(status)})
    else:
        click.echo("\n".join(status_lines(status)))
