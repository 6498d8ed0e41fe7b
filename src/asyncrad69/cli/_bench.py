"""``rad69 bench``: which settings suit a source, found out with few requests and pauses between them."""

from __future__ import annotations

import asyncio
import json
import traceback
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

import asyncrad69
from asyncrad69 import (
    IncompleteRetrieveError,
    Rad69Error,
    RequestTooLarge,
    Retry,
    ServerBusy,
    TransferTimeout,
    XDSBusyError,
    XDSTooMuchError,
)

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._failures import ExitCode, exit_code
from ._gathered import gathered
from ._get import ASKED_OPTIONS, SOURCE_OPTIONS, Asked, RetrieveSettings
from ._output import Output, usage_errors
from ._progress import stderr_line
from ._recommendation import DEFAULT_CONCURRENCY, WORTH, Recommendation, Run, Setting, Trial, megabytes, recommend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncrad69 import AsyncRad69, AsyncRetrieval, InstanceReference

_RAISED: Final = (1, 2, 4, 8)
_REQUEST_SIZES: Final = (None, 10, 1)
_MAX_BYTES: Final = 100_000_000


# --- the measurements


@dataclass(slots=True)
class Bench:
    """
    The plan, step by step. Each setting retrieves the same instances, and keeps none.

    Attributes:
        client: Open.
        references: At least one.
        rounds: How often each setting runs.
        pause_s: Between two retrieves.
        show: Told of every run.
        losses: The errors of what did not come, and not because it was too much to ask for.
    """

    client: AsyncRad69
    references: tuple[InstanceReference, ...]
    rounds: int
    pause_s: float
    show: Callable[[Setting, Run], None]
    concurrency: list[Trial] = field(default_factory=list)
    request_size: list[Trial] = field(default_factory=list)
    losses: list[Rad69Error | None] = field(default_factory=list)

    async def run(self) -> Recommendation | None:
        """
        Measure, and say what follows.

        Raises:
            Rad69Error: The source does not answer even one request, or not as a source.
        """
        await self._warm_up()
        await self._raise_concurrency()
        found = recommend(self.concurrency, ())
        if found is None:
            return None
        self.request_size = [Trial(replace(found.setting, instances_per_request=size)) for size in _REQUEST_SIZES]
        for _ in range(self.rounds):
            await self._round(self.request_size)
        return recommend(self.concurrency, self.request_size)

    async def _warm_up(self) -> None:
        """One instance: connections and caches are warm after it, and it says how many are enough."""
        [first, *_] = self.references
        async with self._retrieval([first]) as retrieval:
            async for _ in retrieval:
                pass
        [row] = retrieval.report.rows
        if row.error is not None:
            raise row.error
        retrieval.report.raise_for_incomplete()
        self.references = self.references[: max(1, _MAX_BYTES // max(1, row.size_bytes))]

    async def _raise_concurrency(self) -> None:
        """The first round finds out how far to go; the others repeat what it tried."""
        # Small requests, so that there are enough for all to be in flight.
        size = max(1, len(self.references) // max(_RAISED))
        for concurrency in _RAISED:
            trial = Trial(Setting(concurrency, size))
            self.concurrency.append(trial)
            await self._round([trial])
            if trial.overloaded or not self._worth_raising(concurrency):
                break
        if not self.concurrency[-1].overloaded:
            self.concurrency.append(Trial(Setting("auto", size)))
            await self._round(self.concurrency[-1:])
        for _ in range(self.rounds - 1):
            await self._round(self.concurrency)

    def _worth_raising(self, concurrency: int) -> bool:
        # One figure is noise, and the default has to be among those that are compared.
        if concurrency < DEFAULT_CONCURRENCY:
            return True
        before, now = self.concurrency[-2:]
        return now.rate >= WORTH * before.rate

    async def _round(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            # Once is enough to know that it is too much.
            if not trial.overloaded:
                await asyncio.sleep(self.pause_s)
                trial.runs.append(await self._measure(trial.setting))
                self.show(trial.setting, trial.runs[-1])

    async def _measure(self, setting: Setting) -> Run:
        began, first, fatal = monotonic(), None, None
        async with self._retrieval(
            self.references,
            concurrency=setting.concurrency,
            instances_per_request=setting.instances_per_request,
            # A repetition would hide that a request was too much.
            retry=Retry(attempts=1),
        ) as retrieval:
            try:
                async for _ in retrieval:
                    first = first or monotonic() - began
            except Rad69Error as exc:
                if not _is_overload(exc):
                    raise
                fatal = exc
        report = retrieval.report
        overloaded = fatal is not None or any(_is_overload(row.error) for row in report.rows)
        if not overloaded:
            self.losses += [row.error for row in report.rows if row.state != "delivered"]
        return Run(
            delivered=len(report.delivered),
            failed=len(report.rows) - len(report.delivered),
            bytes_per_second=report.bytes_per_second,
            first_instance_s=first,
            overloaded=overloaded,
        )

    def _retrieval(self, references: Sequence[InstanceReference], **options: Any) -> AsyncRetrieval:
        with usage_errors():
            return self.client.retrieve(references, on_failure="report", spool_bytes=None, **options)


def _is_overload(error: Rad69Error | None) -> bool:
    return isinstance(error, ServerBusy | TransferTimeout | RequestTooLarge | XDSBusyError | XDSTooMuchError)


# --- the command


@click.command
@click.argument("url")
@click.option(
    "--instances", type=click.IntRange(min=1), default=60, show_default=True, help="At most so many, or 100 MB."
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="How often each setting is tried."
)
@click.option(
    "--pause",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=1,
    show_default=True,
    help="Leave the source alone between two retrieves.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures and the recommendation as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but the result and errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@gathered("asked", Asked, *ASKED_OPTIONS)
@gathered("settings", RetrieveSettings, *SOURCE_OPTIONS)
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@click.pass_context
def bench(
    ctx: click.Context,
    *,
    url: str,
    instances: int,
    rounds: int,
    pause: float,
    as_json: bool,
    quiet: bool,
    debug: bool,
    asked: Asked,
    settings: RetrieveSettings,
    connection: ConnectionSettings,
) -> None:
    """
    Find the settings that suit a source, politely.

    URL is the source's RAD-69 endpoint. Give at least one of --kos, --table and --reference. Every setting retrieves
    the same few instances, one setting after the other; nothing is written to disk.
    """
    output = Output(as_json=as_json, quiet=quiet, debug=debug, log_format=None, log_identifiers=False)
    references = asked.references()[:instances]
    with usage_errors():
        client = asyncrad69.AsyncRad69(url, **connection.keywords(), **settings.options())
    show = _silent if quiet else _row
    ctx.exit(_run(Bench(client, references, rounds, pause, show), output))


def _run(plan: Bench, output: Output) -> ExitCode:
    try:
        found = asyncio.run(_opened(plan))
    except KeyboardInterrupt:
        output.error("interrupted: there is no recommendation")
        return ExitCode.INTERRUPTED
    except Rad69Error as exc:
        if output.debug:
            traceback.print_exception(exc)
        output.error(exc.message, exc.hint)
        return ExitCode.INCOMPLETE if isinstance(exc, IncompleteRetrieveError) else exit_code(exc)
    click.echo(_as_json(plan, found) if output.as_json else "\n".join(_in_words(found)))
    return _ended(plan, found, output)


async def _opened(plan: Bench) -> Recommendation | None:
    async with plan.client:
        return await plan.run()


def _ended(plan: Bench, found: Recommendation | None, output: Output) -> ExitCode:
    """That a source has its limit is a result; that it lacks instances is not."""
    if found is None:
        return ExitCode.UNREACHABLE
    if not plan.losses:
        return ExitCode.COMPLETE
    error = plan.losses[0]
    why = error.message if error else "the source said nothing"
    output.error(f"not every instance came, and not for being too much: {why}", error.hint if error else None)
    return ExitCode.INCOMPLETE


def _row(setting: Setting, run: Run) -> None:
    first = "-" if run.first_instance_s is None else f"{run.first_instance_s:.3f}"
    stderr_line(
        f"{setting!s:<38}{run.delivered:>5} instances{megabytes(run.bytes_per_second):>9} MB/s"
        f"   first after {first} s   {run.failed} failed{', too much' if run.overloaded else ''}"
    )


def _silent(_setting: Setting, _run: Run) -> None:
    """Nothing, for --quiet."""


def _options(setting: Setting) -> str:
    words = [f"--concurrency {setting.concurrency}"]
    if setting.instances_per_request is not None:
        words.append(f"--instances-per-request {setting.instances_per_request}")
    return " ".join(words)


def _keywords(setting: Setting) -> str:
    return f"concurrency={setting.concurrency!r}, instances_per_request={setting.instances_per_request!r}"


def _in_words(found: Recommendation | None) -> Iterable[str]:
    if found is None:
        yield "The source could not bear even one request at a time: ask its operator, and try again later."
        return
    yield from found.reasons
    yield f"rad69 get:  {_options(found.setting)}"
    yield f"Python:     AsyncRad69(url, {_keywords(found.setting)})"


def _as_json(plan: Bench, found: Recommendation | None) -> str:
    facts = {
        "instances": len(plan.references),
        "concurrency": [trial.to_dict() for trial in plan.concurrency],
        "request_size": [trial.to_dict() for trial in plan.request_size],
        "recommendation": found
        and {
            "concurrency": found.setting.concurrency,
            "instances_per_request": found.setting.instances_per_request,
            "options": _options(found.setting),
            "reasons": list(found.reasons),
        },
    }
    return json.dumps(facts, indent=2)
