"""``rad69 bench``: which settings suit a source, found out with few requests and pauses between them."""

from __future__ import annotations

import asyncio
import json
import traceback
from dataclasses import dataclass, field, replace
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click

from asyncrad69 import AsyncRad69, IncompleteRetrieveError, Rad69Error, Retry, ServerBusy, TransferTimeout

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._failures import ExitCode, exit_code
from ._gathered import gathered
from ._get import ASKED_OPTIONS, Asked
from ._output import Output, usage_errors
from ._progress import stderr_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncrad69 import AsyncRetrieval, InstanceReference

Concurrency: TypeAlias = int | Literal["auto"]

_RAISED: Final = (1, 2, 4, 8)
_DEFAULT_CONCURRENCY: Final = 4
_REQUEST_SIZES: Final = (None, 10, 1)
_MAX_BYTES: Final = 100_000_000
# Less than this is no reason to ask more of a source.
_WORTH: Final = 1.1


# --- figures


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tried. ``instances_per_request`` as the library takes it: ``None`` is a series, 0 everything."""

    concurrency: Concurrency
    instances_per_request: int | None

    def __str__(self) -> str:
        size = self.instances_per_request
        asked = "a series" if size is None else f"{size}"
        return f"concurrency {self.concurrency}, {asked} per request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One retrieve: what came, how fast, and whether the source said, or showed, that it was too much."""

    delivered: int
    failed: int
    bytes_per_second: float
    first_instance_s: float | None
    overloaded: bool = False


@dataclass(slots=True)
class Trial:
    """A setting and its runs, one a round."""

    setting: Setting
    runs: list[Run] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median, in bytes a second."""
        return median(run.bytes_per_second for run in self.runs)

    @property
    def spread(self) -> float:
        """How far its runs are apart, in bytes a second."""
        rates = [run.bytes_per_second for run in self.runs]
        return max(rates) - min(rates)

    @property
    def overloaded(self) -> bool:
        """Whether it was too much for the source, in any round."""
        return any(run.overloaded for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        firsts = [run.first_instance_s for run in self.runs if run.first_instance_s is not None]
        return {
            "concurrency": self.setting.concurrency,
            "instances_per_request": self.setting.instances_per_request,
            "rounds": len(self.runs),
            "delivered": sum(run.delivered for run in self.runs),
            "failed": sum(run.failed for run in self.runs),
            "bytes_per_second": round(self.rate),
            "spread_bytes_per_second": round(self.spread),
            "first_instance_s": round(median(firsts), 6) if firsts else None,
            "overloaded": self.overloaded,
        }


# --- what follows from them


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The settings to use, and why, a sentence each."""

    setting: Setting
    reasons: tuple[str, ...]


def recommend(concurrency: Sequence[Trial], request_size: Sequence[Trial]) -> Recommendation | None:
    """
    What to set, given what was measured; ``None`` if the source could not bear even the least.

    Args:
        concurrency: Trials that differ in it.
        request_size: Trials at the best concurrency that differ in instances per request.
    """
    borne = [trial for trial in concurrency if not trial.overloaded]
    if not borne:
        return None
    chosen, reason = _choose(borne, _usual(borne), _concurrency_words)
    reasons = [reason]
    reasons += [
        f"concurrency {trial.setting.concurrency} is too much for the source: it was busy, or late."
        for trial in concurrency
        if trial.overloaded
    ]
    sizes = [trial for trial in request_size if not trial.overloaded]
    usual = next((trial for trial in sizes if trial.setting.instances_per_request is None), None)
    size = None
    if usual is not None:
        best, reason = _choose(sizes, usual, _size_words)
        size = best.setting.instances_per_request
        reasons.append(reason)
    return Recommendation(Setting(chosen.setting.concurrency, size), tuple(reasons))


def _usual(borne: Sequence[Trial]) -> Trial:
    """The default, or the least that was tried where the default was not reached."""
    return next((trial for trial in borne if trial.setting.concurrency == _DEFAULT_CONCURRENCY), borne[0])


def _choose(trials: Sequence[Trial], usual: Trial, words: Callable[[Setting], str]) -> tuple[Trial, str]:
    """The fastest, if it is faster than *usual* by more than chance explains."""
    best = max(trials, key=lambda trial: trial.rate)
    gain = best.rate - usual.rate
    noise = max(best.spread, usual.spread, (_WORTH - 1) * usual.rate)
    if gain <= noise:
        return usual, f"{words(usual.setting)}: what others gain is within the noise."
    return best, f"{words(best.setting)}: {_mb(best.rate)} MB/s; with {words(usual.setting)} it is {_mb(usual.rate)}."


def _concurrency_words(setting: Setting) -> str:
    default = " (the default)" if setting.concurrency == _DEFAULT_CONCURRENCY else ""
    return f"concurrency {setting.concurrency}{default}"


def _size_words(setting: Setting) -> str:
    size = setting.instances_per_request
    return "a series per request (the default)" if size is None else f"at most {size} per request"


def _mb(rate: float) -> str:
    return f"{rate / 1e6:.1f}"


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
    """

    client: AsyncRad69
    references: tuple[InstanceReference, ...]
    rounds: int
    pause_s: float
    show: Callable[[Setting, Run], None]
    concurrency: list[Trial] = field(default_factory=list)
    request_size: list[Trial] = field(default_factory=list)

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
        if concurrency < _DEFAULT_CONCURRENCY:
            return True
        before, now = self.concurrency[-2:]
        return now.rate >= _WORTH * before.rate

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
        return Run(
            delivered=len(report.delivered),
            failed=len(report.rows) - len(report.delivered),
            bytes_per_second=report.bytes_per_second,
            first_instance_s=first,
            overloaded=fatal is not None or any(_is_overload(row.error) for row in report.rows),
        )

    def _retrieval(self, references: Sequence[InstanceReference], **options: Any) -> AsyncRetrieval:
        with usage_errors():
            return self.client.retrieve(references, on_failure="report", spool_bytes=None, **options)


def _is_overload(error: Rad69Error | None) -> bool:
    return isinstance(error, ServerBusy | TransferTimeout)


# --- the command


@click.command
@click.argument("url")
@click.option("--repository", metavar="OID", help="The source's repository unique id, where a reference has none.")
@click.option("--home-community", metavar="URN", help="Its home community, where a reference has none.")
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
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@click.pass_context
def bench(
    ctx: click.Context,
    *,
    url: str,
    repository: str | None,
    home_community: str | None,
    instances: int,
    rounds: int,
    pause: float,
    as_json: bool,
    quiet: bool,
    debug: bool,
    asked: Asked,
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
        client = AsyncRad69(
            url,
            **connection.keywords(),
            repository_unique_id=repository,
            home_community_id=home_community,
        )
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
    return _code(plan, found)


async def _opened(plan: Bench) -> Recommendation | None:
    async with plan.client:
        return await plan.run()


def _code(plan: Bench, found: Recommendation | None) -> ExitCode:
    """That a source has its limit is a result; that it lacks instances is not."""
    if found is None:
        return ExitCode.UNREACHABLE
    trials = [*plan.concurrency, *plan.request_size]
    lost = any(run.failed and not run.overloaded for trial in trials for run in trial.runs)
    return ExitCode.INCOMPLETE if lost else ExitCode.COMPLETE


def _row(setting: Setting, run: Run) -> None:
    first = "-" if run.first_instance_s is None else f"{run.first_instance_s:.3f}"
    stderr_line(
        f"{setting!s:<38}{run.delivered:>5} instances{_mb(run.bytes_per_second):>9} MB/s"
        f"   first after {first} s   {run.failed} failed{', too much' if run.overloaded else ''}"
    )


def _silent(_setting: Setting, _run: Run) -> None:
    """Nothing, for --quiet."""


def _options(setting: Setting) -> str:
    # "auto" is the library's only: --concurrency takes a number.
    words = [] if setting.concurrency == "auto" else [f"--concurrency {setting.concurrency}"]
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
    if options := _options(found.setting):
        yield f"rad69 get:  {options}"
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
