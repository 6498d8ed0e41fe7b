"""What was measured of a source, and which settings follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Concurrency: TypeAlias = int | Literal["auto"]

DEFAULT_CONCURRENCY: Final = 4
# Less than this is no reason to ask more of a source.
WORTH: Final = 1.1


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
    reasons = [reason, *_too_much(concurrency, _concurrency_words)]
    size = None
    if request_size:
        sizes = [trial for trial in request_size if not trial.overloaded]
        if all(trial.setting.instances_per_request is not None for trial in sizes):
            # What the concurrency was tried with was borne, too.
            sizes.append(chosen)
        best, reason = _choose(sizes, max(sizes, key=_size), _size_words)
        size = best.setting.instances_per_request
        reasons += [reason, *_too_much(request_size, _size_words)]
    return Recommendation(Setting(chosen.setting.concurrency, size), tuple(reasons))


def _too_much(trials: Iterable[Trial], words: Callable[[Setting], str]) -> list[str]:
    return [
        f"{words(trial.setting)} is too much for the source: it said so, or was late."
        for trial in trials
        if trial.overloaded
    ]


def _size(trial: Trial) -> float:
    """How much is asked for at once: a series, which is the default, is more than any number of its instances."""
    size = trial.setting.instances_per_request
    return inf if size is None else size


def _usual(borne: Sequence[Trial]) -> Trial:
    """The default, or the least that was tried where the default was not reached."""
    return next((trial for trial in borne if trial.setting.concurrency == DEFAULT_CONCURRENCY), borne[0])


def _choose(trials: Sequence[Trial], usual: Trial, words: Callable[[Setting], str]) -> tuple[Trial, str]:
    """The fastest, if it is faster than *usual* by more than chance explains."""
    best = max(trials, key=lambda trial: trial.rate)
    gain = best.rate - usual.rate
    noise = max(best.spread, usual.spread, (WORTH - 1) * usual.rate)
    if gain <= noise:
        return usual, f"{words(usual.setting)}: what others gain is within the noise."
    found, otherwise = megabytes(best.rate), megabytes(usual.rate)
    return best, f"{words(best.setting)}: {found} MB/s; with {words(usual.setting)} it is {otherwise}."


def _concurrency_words(setting: Setting) -> str:
    default = " (the default)" if setting.concurrency == DEFAULT_CONCURRENCY else ""
    return f"concurrency {setting.concurrency}{default}"


def _size_words(setting: Setting) -> str:
    size = setting.instances_per_request
    return "a series per request (the default)" if size is None else f"at most {size} per request"


def megabytes(size_bytes: float) -> str:
    """So many of them."""
    return f"{size_bytes / 1e6:.1f}"
