"""``rad69 status``: how far a job is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import asyncrad69.jobs
from asyncrad69.jobs._export import status_dict

from ._failures import ExitCode
from ._jobs import JOB, JOB_DEBUG, JOB_JSON, SHARD, job_errors, print_json, rejected_dicts, status_lines
from ._output import _field

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrad69.jobs import Shard


@click.command
@JOB
@SHARD
@JOB_JSON
@JOB_DEBUG
@click.pass_context
def status(ctx: click.Context, *, job: Path, shard: Shard | None, as_json: bool, debug: bool) -> None:
    """
    Say how far a job is, also while it runs.

    The exit code is 0 where every instance is in its file, and 3 where not.
    """
    with job_errors(debug=debug), asyncrad69.jobs.Job.open(job) as opened:
        found, rejected = opened.status(shard), opened.rejected()
    if as_json:
        print_json({**status_dict(found), "rejected": rejected_dicts(rejected)})
    else:
        click.echo("\n".join(status_lines(found)))
        if rejected:
            click.echo(_field("rejected", f"{len(rejected):,} of the plan's input; --json lists them"))
    ctx.exit(ExitCode.COMPLETE if found.complete else ExitCode.INCOMPLETE)
