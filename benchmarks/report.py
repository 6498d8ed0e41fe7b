"""Results as tables, and beside the goals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from .measure import Run, middle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .cases import Case

#: The runs of each peer of each case.
Results = dict[str, dict[str, list[Run]]]

_MIB: Final = 1024 * 1024
_COLUMNS: Final = (
    "peer",
    "s",
    "min - max",
    "MB/s",
    "x source",
    "x floor",
    "x dicomtrolley",
    "CPU s/GB",
    "first ms",
    "RSS MiB",
    "stall ms",
    "walk %",
)
# The least that a peer's time must be of the source's own, to say something about the peer.
_TIMES_SOURCE: Final = 4
_SOURCE: Final = "floor recv"


def case_table(case: Case, peers: Mapping[str, list[Run]]) -> str:
    """One case as a Markdown table."""
    rows = [_cells(case, peers, peer) for peer in peers]
    return f"### {case.title}\n\n{markdown(_COLUMNS, rows)}"


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table that reads as plain text too: the first column to the left, all others to the right."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width + ("" if index == 0 else ":") for index, width in enumerate(widths)]
    return "\n".join(
        [_line(lines[0], widths), f"|{rule[0]}--|{'|'.join('-' + each for each in rule[1:])}|"]
        + [_line(line, widths) for line in lines[1:]]
    )


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def _cells(case: Case, peers: Mapping[str, list[Run]], peer: str) -> list[str]:
    runs = peers[peer]
    seconds = seconds_of(peers, peer) or 0.0
    gigabytes = case.workload.total_bytes / 1e9
    every = [run["seconds"] for run in runs]
    floor = seconds_of(peers, "floor dcmread") or seconds_of(peers, "floor write")
    theirs = seconds_of(peers, "dicomtrolley")
    return [
        peer,
        f"{seconds:.3f}",
        f"{min(every):.3f} - {max(every):.3f}",
        f"{1000 * gigabytes / seconds:.0f}",
        _times_source(peers, peer),
        _number(floor and seconds / floor, ".2f"),
        _number(theirs and theirs / seconds, ".2f"),
        _number((middle(runs, "cpu_s") or 0) / gigabytes, ".2f"),
        _number(middle(runs, "first_s"), ".1f", 1000),
        _number(_peak(runs), ".0f", 1 / _MIB),
        _number(middle(runs, "stall_s"), ".1f", 1000),
        _number(_walk_share(runs), ".1f", 100),
    ]


def _times_source(peers: Mapping[str, list[Run]], peer: str) -> str:
    source, seconds = seconds_of(peers, _SOURCE), seconds_of(peers, peer)
    if not source or not seconds:
        return "-"
    return f"{seconds / source:.1f}{' *' if _source_bound(peers, peer) else '  '}"


def _source_bound(peers: Mapping[str, list[Run]], peer: str) -> bool:
    """Whether the time of a peer says more about the source than about the peer."""
    source, seconds = seconds_of(peers, _SOURCE), seconds_of(peers, peer)
    return peer != _SOURCE and source is not None and seconds is not None and seconds < _TIMES_SOURCE * source


def _peak(runs: Iterable[Run]) -> float | None:
    return max((run["rss_over_base"] for run in runs if run["rss_over_base"] is not None), default=None)


def _walk_share(runs: list[Run]) -> float | None:
    walk_s = middle(runs, "walk_s")
    return walk_s and walk_s / (middle(runs, "cpu_s") or 1)


def _number(value: float | None, spec: str, factor: float = 1) -> str:
    return "-" if value is None else format(value * factor, spec)


def seconds_of(peers: Mapping[str, list[Run]], peer: str) -> float | None:
    """The median time of a peer; ``None`` where it did not run."""
    return middle(peers[peer], "seconds") if peer in peers else None


# --- the goals -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """
    A promise, and what was measured.

    Attributes:
        text: What about.
        target: The least that is promised.
        stretch: What is wished for.
        measured: What it is.
        more_is_better: Whether target and stretch are lower bounds, else upper.
        by_cpu: The same ratio in CPU time, which a busy machine disturbs less; ``None`` where it is no ratio.
        at_best: Where the source's own time is a large part of ours: what a peer as fast as the source would reach.
    """

    text: str
    target: float
    stretch: float
    measured: float
    more_is_better: bool
    by_cpu: float | None = None
    at_best: float | None = None

    @property
    def verdict(self) -> str:
        """``stretch``, ``target``, ``missed``, or ``source-bound`` where the figure says nothing about us."""
        reached = "stretch" if self._reaches(self.stretch) else "target" if self._reaches(self.target) else "missed"
        # The source's time is in both that are compared, and brings their ratio nearer to 1: what is far from 1 all the
        # same, is reached all the same.
        if self.at_best is not None and not (self.more_is_better and reached != "missed"):
            return "source-bound"
        return reached

    def _reaches(self, bound: float) -> bool:
        return self.measured >= bound if self.more_is_better else self.measured <= bound

    def to_json(self) -> dict[str, Any]:
        """With the verdict."""
        return asdict(self) | {"verdict": self.verdict}


#: Case, peer and other peer (or other case, after a slash), target, stretch: how many times faster the peer is.
_FASTER: Final = (
    ("ct-8k", "asyncrad69", "dicomtrolley", 2.5, 3.0),
    ("ct-8k", "asyncrad69", "dicomtrolley async", 3.5, 4.5),
    ("ct-4k", "asyncrad69", "dicomtrolley", 3.0, 4.0),
    ("ct-64k", "asyncrad69", "dicomtrolley", 1.7, 2.0),
    ("small-8k", "asyncrad69", "dicomtrolley", 1.4, 1.9),
    ("ct-8k-https", "transport recv", "requests recv", 2.0, 2.5),
    ("ct-8k-https", "transport recv", "httpx recv", 3.0, 4.0),
)
#: Case, peer, other peer, target, stretch: how many times slower the peer is.
_SLOWER: Final = (
    ("ct-8k", "asyncrad69", "floor dcmread", 1.3, 1.1),
    ("ct-1gbit", "asyncrad69", "curl", 1.03, 1.01),
    ("ct-files", "asyncrad69 download", "floor write", 1.5, 1.25),
)
#: Case, peer, target, stretch: MiB of resident memory over base.
_MEMORY: Final = (
    ("ct-dropped", "asyncrad69", 8.0, 3.0),
    ("slow-consumer", "asyncrad69 instances", 30.0, 25.0),
    ("giant-spooled", "asyncrad69 instances", 64.0, 16.0),
)


def goals(cases: Iterable[Case], results: Results) -> list[Goal]:
    """Every goal that *results* have figures for."""
    payloads = {case.name: case.workload.total_bytes for case in cases}
    found = [
        *(
            _ratio(results, case, f"{peer}: times the speed of {other}", (other, peer), bounds, more_is_better=True)
            for case, peer, other, *bounds in _FASTER
        ),
        *(
            _ratio(results, case, f"{peer}: times the time of {other}", (peer, other), bounds, more_is_better=False)
            for case, peer, other, *bounds in _SLOWER
        ),
        *_first_dataset(results),
        *(_memory(results, *row) for row in _MEMORY),
        _kept(results, payloads),
        _think_time(results),
        *(_walk(results, case) for case in ("ct-8k", "small-8k")),
    ]
    return [goal for goal in found if goal]


def goals_table(reached: Iterable[Goal]) -> str:
    """The goals as a Markdown table."""
    rows = [
        [
            goal.text,
            f"{'>=' if goal.more_is_better else '<='} {goal.target:.3g}",
            f"{goal.stretch:.3g}",
            f"{goal.measured:.2f}",
            _number(goal.by_cpu, ".2f"),
            _number(goal.at_best, ".2f"),
            goal.verdict,
        ]
        for goal in reached
    ]
    columns = ("goal", "target", "stretch", "measured", "by CPU time", "at best", "reached")
    return "### Goals\n\n" + markdown(columns, rows)


def _ratio(
    results: Results, case: str, text: str, peers: tuple[str, str], bounds: list[float], *, more_is_better: bool
) -> Goal | None:
    above, below = (results.get(case, {}).get(peer) for peer in peers)
    if not above or not below:
        return None
    wall, cpu = (_quotient(above, below, name) for name in ("seconds", "cpu_s"))
    at_best, ours = None, peers[1] if more_is_better else peers[0]
    if _source_bound(results[case], ours):
        source = results[case][_SOURCE]
        at_best = _quotient(above, source, "seconds") if more_is_better else _quotient(source, below, "seconds")
    return Goal(f"{case}, {text}", bounds[0], bounds[1], wall, more_is_better, cpu, at_best)


def _quotient(above: list[Run], below: list[Run], name: str) -> float:
    return (middle(above, name) or 0.0) / (middle(below, name) or 1.0)


def _first_dataset(results: Results) -> Iterable[Goal]:
    peers = results.get("ct-8k", {})
    for other, target in (("dicomtrolley", 4.0), ("dicomtrolley async", 50.0)):
        if other in peers and "asyncrad69" in peers:
            ratio = (middle(peers[other], "first_s") or 0) / (middle(peers["asyncrad69"], "first_s") or 1)
            yield Goal(f"ct-8k, first Dataset, times as early as {other}", target, target, ratio, more_is_better=True)


def _memory(results: Results, case: str, peer: str, target: float, stretch: float) -> Goal | None:
    runs = results.get(case, {}).get(peer)
    if not runs:
        return None
    measured = max(run["rss_over_base"] for run in runs) / _MIB
    return Goal(f"{case}, {peer}: MiB over base", target, stretch, measured, more_is_better=False)


def _kept(results: Results, payloads: Mapping[str, int]) -> Goal | None:
    runs = results.get("ct-8k", {}).get("asyncrad69")
    if not runs:
        return None
    over = max(run["rss_over_base"] for run in runs) - 8 * _MIB
    text = "ct-8k, Datasets kept: (memory over base - 8 MiB) / payload"
    return Goal(text, 1.1, 1.1, over / payloads["ct-8k"], more_is_better=False)


def _think_time(results: Results) -> Goal | None:
    one, eight = (seconds_of(results.get(f"think-instance-c{each}", {}), "asyncrad69") for each in (1, 8))
    if one is None or eight is None:
        return None
    return Goal("50 ms per instance, concurrency 1 to 8: times faster", 6.0, 6.0, one / eight, more_is_better=True)


def _walk(results: Results, case: str) -> Goal | None:
    share = _walk_share(results.get(case, {}).get("asyncrad69", []))
    text = f"{case}, asyncrad69: % of its CPU time that the checks of completeness take"
    return None if share is None else Goal(text, 5.0, 2.0, 100 * share, more_is_better=False)
