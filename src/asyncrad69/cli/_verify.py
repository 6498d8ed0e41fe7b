"""``rad69 verify``: a job's files, held against what was written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

import asyncrad69.jobs

from ._failures import ExitCode
from ._jobs import JOB, JOB_DEBUG, JOB_JSON, job_errors, print_json
from ._output import _field

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrad69.jobs import Checked


@click.command
@JOB
@click.option(
    "--ask-again",
    is_flag=True,
    help="Let the next run ask for what is gone or changed; a changed file is kept as NAME.changed.",
)
@JOB_JSON
@JOB_DEBUG
@click.pass_context
def verify(ctx: click.Context, *, job: Path, ask_again: bool, as_json: bool, debug: bool) -> None:
    """
    Read a job's files anew, and compare them with their SHA-256.

    stdout lists the files that are gone, changed or unreadable. The exit code is 0 where there are none, and 3 else.
    """
    counts: Counter[str] = Counter()
    flawed: list[Checked] = []
    with job_errors(debug=debug), asyncrad69.jobs.Job.open(job) as opened:
        for each in opened.verify(ask_again=ask_again):
            counts[each.flaw or "good"] += 1
            if each.flaw is not None:
                flawed.append(each)
    if as_json:
        files = [{"path": str(each.row.path), "flaw": each.flaw} for each in flawed]
        print_json({**{name: counts[name] for name in ("good", "gone", "changed", "unreadable")}, "files": files})
    else:
        click.echo("\n".join([_field("good", f"{counts['good']:,} files"), *_lines(flawed)]))
    ctx.exit(ExitCode.INCOMPLETE if flawed else ExitCode.COMPLETE)


def _lines(flawed: list[Checked]) -> list[str]:
    return [_field(each.flaw or "", str(each.row.path)) for each in flawed]
