"""``rad69 run``: what is pending in a job goes to files, for as long as it takes."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
from anyio import CancelScope

import asyncrad69.jobs
from asyncrad69 import InvalidReferenceError, Rad69Error
from asyncrad69.jobs import Rules, Window
from asyncrad69.jobs._export import status_dict

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._failures import ExitCode, exit_code
from ._gathered import gathered
from ._get import RETRIEVE_OPTIONS, RetrieveSettings
from ._interrupts import interrupts
from ._jobs import JOB, SHARD, job_errors, print_json, status_lines
from ._output import OUTPUT_OPTIONS, Output, usage_errors
from ._progress import Tally
from ._values import parsed, size_of

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrad69 import AsyncRad69
    from asyncrad69.jobs import Job, JobStatus, Shard

    from ._progress import Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The options below, as they were given."""

    window: Window | None
    min_free: float
    stop_after_failures: int | None
    wait_for_source: float
    refused: bool
    existing: str
    durability: str

    def rules(self) -> Rules:
        """As the library takes them."""
        return Rules(
            window=self.window,
            min_free_bytes=int(self.min_free),
            stop_after_failures=self.stop_after_failures,
            max_away_s=self.wait_for_source * 60,
            ask_refused=self.refused,
        )


RUN_OPTIONS: Final = (
    click.option(
        "--window",
        metavar="HH:MM-HH:MM",
        callback=parsed(Window.parse),
        help="Ask only at this time of day, local; 19:00-07:00 is at night.",
    ),
    click.option(
        "--min-free",
        metavar="SIZE",
        default="0",
        callback=parsed(size_of),
        help="Wait while the disk has less room, e.g. 5GB.",
    ),
    click.option(
        "--stop-after-failures", type=click.IntRange(min=1), help="End after so many refused or missing instances."
    ),
    click.option(
        "--wait-for-source",
        type=click.FloatRange(min=0),
        metavar="MINUTES",
        default=60,
        show_default=True,
        help="How long a source that answered before may be busy or out of reach.",
    ),
    click.option("--refused", is_flag=True, help="Ask again for what the source refused in an earlier run."),
    click.option(
        "--existing",
        type=click.Choice(["skip", "overwrite"]),
        default="skip",
        show_default=True,
        help="What to do about files of pending instances: take them if they are whole, or replace them.",
    ),
    click.option(
        "--durability",
        type=click.Choice(["none", "batch", "each"]),
        default="none",
        show_default=True,
        help="Bring files to the disk at the system's leisure, in groups, or each at once.",
    ),
)


@click.command
@JOB
@click.option("--to", "url", required=True, metavar="URL", help="The source's RAD-69 endpoint.")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    metavar="DIR|TEMPLATE",
    help="A folder, or a path with {StudyInstanceUID}, {SeriesInstanceUID} and {SOPInstanceUID} in it.",
)
@SHARD
@gathered("run_settings", RunSettings, *RUN_OPTIONS)
@gathered("settings", RetrieveSettings, *RETRIEVE_OPTIONS)
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@gathered("output", Output, *OUTPUT_OPTIONS)
@click.pass_context
def run(
    ctx: click.Context,
    *,
    job: Path,
    url: str,
    target: str,
    shard: Shard | None,
    run_settings: RunSettings,
    settings: RetrieveSettings,
    connection: ConnectionSettings,
    output: Output,
) -> None:
    """
    Retrieve what is pending in a job, and write it to files.

    What was missing before is pending again. Run the same command again after an interruption: the first Ctrl-C
    finishes what is in flight, the second aborts, and a kill at any moment loses no more than what was in flight.
    """
    with usage_errors():
        client = asyncrad69.AsyncRad69(url, **connection.keywords(), **settings.options())
    with job_errors(debug=output.debug), asyncrad69.jobs.Job.open(job) as opened:
        ctx.exit(_Run(opened, client, target, shard, run_settings, output).code())


class _Run:
    """One run of a job, watched."""

    def __init__(
        self,
        job: Job,
        client: AsyncRad69,
        target: str,
        shard: Shard | None,
        settings: RunSettings,
        output: Output,
    ) -> None:
        self._job = job
        self._client = client
        self._target = target
        self._shard = shard
        self._settings = settings
        self._output = output
        self._interrupted = False

    def code(self) -> ExitCode:
        """Run it, and say how it ended."""
        before = self._job.status(self._shard)
        left = before.pending + before.missing + (before.refused if self._settings.refused else 0)
        error = None
        try:
            with self._output.display(Tally(left)) as display:
                asyncio.run(self._run(display))
        except InvalidReferenceError:
            raise
        except ValueError as exc:  # the template's
            raise click.UsageError(str(exc)) from exc
        except Rad69Error as exc:
            error = exc
            if self._output.debug:
                traceback.print_exception(exc)
        return self._say(self._job.status(self._shard), error)

    async def _run(self, display: Silent) -> None:
        with CancelScope() as scope, interrupts(lambda: self._finish(display), scope.cancel):
            async with self._client:
                await self._job.run(
                    self._client,
                    self._target,
                    shard=self._shard,
                    rules=self._settings.rules(),
                    existing=self._settings.existing,  # type: ignore[arg-type]
                    durability=self._settings.durability,  # type: ignore[arg-type]
                    on_wait=lambda why: display.say(f"waiting: {why}"),
                    on_event=display.note,
                )

    def _finish(self, display: Silent) -> None:
        self._interrupted = True
        display.say("finishing what is in flight; Ctrl-C once more aborts it")
        self._job.stop()

    def _say(self, status: JobStatus, error: Rad69Error | None) -> ExitCode:
        if self._output.as_json:
            facts = {"class": type(error).__name__, "message": error.message} if error else None
            print_json({**status_dict(status), **({"error": facts} if facts else {})})
        elif not self._output.quiet:
            click.echo("\n".join(status_lines(status)))
        if error is not None:
            self._output.error(error.message, error.hint or _AGAIN)
            return exit_code(error)
        if self._interrupted and status.pending:
            self._output.error(f"interrupted: {status.pending:,} instances are still to be asked for", _AGAIN)
            return ExitCode.INTERRUPTED
        if status.complete:
            return ExitCode.COMPLETE
        lost = status.instances - status.done
        self._output.error(
            f"incomplete: {lost:,} of {status.instances:,} instances are not there",
            f"{_AGAIN} What was refused is asked for again with --refused.",
        )
        return ExitCode.INCOMPLETE


_AGAIN: Final = "Run the same command again to go on."
