"""What the commands about jobs have in common: a job's file, how far it is, and how they end."""

from __future__ import annotations

import json
import traceback
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from asyncrad69 import InvalidReferenceError, Rad69Error
from asyncrad69.jobs import JobError, Shard

from ._failures import exit_code, without_uids
from ._output import _MAX_REASONS, _field, _plural, in_options
from ._progress import size, stderr_line
from ._values import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69.jobs import JobStatus, Rejected

JOB: Final = click.argument("job", type=click.Path(dir_okay=False, path_type=Path))
JOB_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
JOB_DEBUG: Final = click.option("--debug", is_flag=True, help="Show tracebacks.")


@contextmanager
def job_errors(*, debug: bool) -> Iterator[None]:
    """A file that is no job is a mistake in the command line; what else went wrong has its exit code."""
    try:
        yield
    except (JobError, InvalidReferenceError) as exc:
        if debug:
            traceback.print_exception(exc)
        raise click.UsageError(without_uids(in_options(str(exc)))) from exc
    except Rad69Error as exc:
        if debug:
            traceback.print_exception(exc)
        hint = f"\n  {without_uids(in_options(exc.hint))}" if exc.hint else ""
        stderr_line(f"rad69: {without_uids(exc.message)}{hint}")
        raise click.exceptions.Exit(exit_code(exc)) from exc


def status_lines(status: JobStatus) -> Iterator[str]:
    """How far a job is, for people."""
    yield _field(_verdict(status), f"{status.done:,} of {status.instances:,} instances")
    yield _field("series", f"{status.series:,} in {_plural(status.studies, 'study', 'studies')}")
    yield _field("bytes", f"{status.done_bytes:,} ({size(status.done_bytes)})")
    yield _field("pending", f"{status.pending:,}")
    yield _field("refused", f"{status.refused:,}")
    yield _field("missing", f"{status.missing:,}")
    for error, code, count in status.reasons[:_MAX_REASONS]:
        yield _field("", f"{count:,} x {error or 'the source said nothing'}{f' ({code})' if code else ''}")
    if len(status.reasons) > _MAX_REASONS:
        yield _field("", f"and {len(status.reasons) - _MAX_REASONS} other reasons; --json has them all")


def _verdict(status: JobStatus) -> str:
    if status.complete:
        return "complete"
    return "pending" if status.pending else "INCOMPLETE"


def rejected_dicts(rejected: list[Rejected]) -> list[dict[str, Any]]:
    """As plain values."""
    return [{**asdict(each), "reason": in_options(each.reason)} for each in rejected]


def print_json(facts: dict[str, Any]) -> None:
    """The result, on stdout."""
    click.echo(json.dumps(facts, indent=2))


SHARD: Final = click.option(
    "--shard",
    metavar="i/n",
    callback=parsed(Shard.parse),
    help="Only the studies of this share: 0/4 to 3/4 are four of them.",
)
