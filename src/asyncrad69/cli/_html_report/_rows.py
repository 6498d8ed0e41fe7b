"""The rows of a page, and their sums: one pass over them, of which only what did not come is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Outcome: TypeAlias = Literal["received", "refused", "missing", "pending", "unexpected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """
    What became of one instance.

    Attributes:
        study_instance_uid: Its study.
        series_instance_uid: Its series.
        sop_instance_uid: The instance.
        outcome: ``"received"``, ``"refused"`` by the source, ``"missing"`` without a word from it,
            ``"pending"`` where a job has not come to it yet, or ``"unexpected"``: it came unasked.
        size_bytes: Its size as it came.
        finished_at_s: When it was whole, in seconds on any clock; ``None`` where that is not known.
        error_class: The name of the error's class; empty without one.
        code: The source's code for it, e.g. ``"XDSMissingDocument"``; empty without one.
        path: The file it is in.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    outcome: Outcome
    size_bytes: int = 0
    finished_at_s: float | None = None
    error_class: str = ""
    code: str = ""
    path: str | None = None


@dataclass(slots=True)
class SeriesSums:
    """One series: how many instances ended how, and those that did not come."""

    study_instance_uid: str
    series_instance_uid: str
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    size_bytes: int = 0
    lost: list[ReportRow] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """What came unasked is not among them."""
        return self.outcomes.total() - self.outcomes["unexpected"]


@dataclass(slots=True)
class Sums:
    """All of it. *arrivals* has a time in seconds and a size in bytes for each instance whose time is known."""

    series: list[SeriesSums]
    outcomes: Counter[Outcome]
    reasons: Counter[tuple[str, str]]
    size_bytes: int
    studies: int
    arrivals: list[tuple[float, int]]

    @property
    def asked(self) -> int:
        """How many instances were asked for."""
        return self.outcomes.total() - self.outcomes["unexpected"]

    @property
    def lost(self) -> int:
        """How many of them did not come."""
        return self.outcomes["refused"] + self.outcomes["missing"]


def sums_of(rows: Iterable[ReportRow]) -> Sums:
    """The sums of *rows*: series with the most losses first, otherwise in the order of the rows."""
    series: dict[tuple[str, str], SeriesSums] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    arrivals: list[tuple[float, int]] = []
    for row in rows:
        key = row.study_instance_uid, row.series_instance_uid
        sums = series.get(key) or series.setdefault(key, SeriesSums(*key))
        sums.outcomes[row.outcome] += 1
        if row.outcome in {"refused", "missing"}:
            sums.lost.append(row)
            reasons[row.error_class, row.code] += 1
        if row.outcome not in {"received", "unexpected"}:
            continue
        sums.size_bytes += row.size_bytes
        if row.finished_at_s is not None:
            arrivals.append((row.finished_at_s, row.size_bytes))
    outcomes: Counter[Outcome] = Counter()
    for each in series.values():
        outcomes.update(each.outcomes)
    return Sums(
        series=sorted(series.values(), key=lambda each: -len(each.lost)),
        outcomes=outcomes,
        reasons=reasons,
        size_bytes=sum(each.size_bytes for each in series.values()),
        studies=len({study for study, _ in series}),
        arrivals=arrivals,
    )
