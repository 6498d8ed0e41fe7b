"""The results as a picture: a panel per case, a bar per peer."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from .report import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .cases import Case
    from .measure import Run
    from .report import Results

_OURS, _THEIRS, _FLOOR = "#1b7f5c", "#8a8f98", "#c8ccd2"
_PANELS_PER_ROW = 3


def plot(cases: Sequence[Case], results: Results, path: Path) -> None:
    """Draw the cases that compare peers; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    compared = [case for case in cases if len(results[case.name]) > 1]
    rows = -(-len(compared) // _PANELS_PER_ROW)
    figure, axes = pyplot.subplots(
        rows, _PANELS_PER_ROW, figsize=(6 * _PANELS_PER_ROW, 3.4 * rows), squeeze=False, layout="constrained"
    )
    for panel, case in zip(axes.flat, compared, strict=False):
        _draw(panel, case, results[case.name])
    for panel in axes.flat[len(compared) :]:
        panel.axis("off")
    figure.savefig(path, dpi=100)


def _draw(panel: Any, case: Case, peers: Mapping[str, list[Run]]) -> None:
    names = list(peers)[::-1]
    medians = [seconds_of(peers, name) or 0.0 for name in names]
    every = [[run["seconds"] for run in peers[name]] for name in names]
    spread = [
        [middle - min(values) for middle, values in zip(medians, every, strict=True)],
        [max(values) - middle for middle, values in zip(medians, every, strict=True)],
    ]
    panel.barh(names, medians, xerr=spread, color=[_colour(name) for name in names], capsize=2)
    name, _, settings = case.title.partition(": ")
    panel.set_title("\n".join((name, *wrap(settings, 80))), fontsize=8, loc="left")
    panel.set_xlabel("seconds: median, minimum and maximum", fontsize=8)
    panel.tick_params(labelsize=8)


def _colour(peer: str) -> str:
    if peer.startswith(("asyncrad69", "transport")):
        return _OURS
    return _FLOOR if peer.startswith("floor") else _THEIRS
