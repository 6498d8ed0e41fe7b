"""The benchmarks still run: no speed is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def test_a_run_writes_what_it_measured(tmp_path: Path) -> None:
    """One tiny case goes through source, peers and report, and its JSON has every figure that README.md names."""
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--json", str(file)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "| asyncrad69 " in printed
    document = json.loads(file.read_text("utf-8"))
    assert {"date", "command", "machine", "versions", "skipped", "cases", "goals"} <= document.keys()
    runs = document["cases"]["smoke"]["runs"]
    assert list(runs) == ["floor dcmread", "asyncrad69"]
    for (run,) in runs.values():
        assert run["whole"]
        assert run["instances"] == 4
        assert (run["walk_s"] is None) == (run is runs["floor dcmread"][0])
        assert {"seconds", "first_s", "cpu_s", "rss_over_base", "stall_s", "walk_s", "received"} <= run.keys()


def without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmarks where *module* is not installed."""
    program = f"import sys; sys.modules[{module!r}] = None; from benchmarks.__main__ import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)


def test_cases_that_cannot_run_are_skipped_by_name(tmp_path: Path) -> None:
    """Without trustme there is no certificate for https: said, and in the JSON, and no error."""
    file = tmp_path / "results.json"
    done = without("trustme", "--quick", "--only", "ct-8k-https", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "skipped: ct-8k-https (trustme is not installed)" in done.stdout
    document = json.loads(file.read_text("utf-8"))
    assert document["skipped"]["ct-8k-https"] == "trustme"
    assert document["cases"] == {}


def test_a_plot_that_cannot_be_drawn(tmp_path: Path) -> None:
    """Without matplotlib that is said before anything is measured."""
    done = without("matplotlib", "--smoke", "--plot", str(tmp_path / "today.png"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "--plot needs matplotlib: pip install --group bench .\n"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module; the benchmarks are no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    return import_module("benchmarks.report")


def run_of(seconds: float, **others: float | None) -> dict[str, float | None]:
    """One run that took *seconds*."""
    nothing = dict.fromkeys(("first_s", "rss_over_base", "stall_s", "walk_s"))
    return nothing | {"seconds": seconds, "cpu_s": seconds} | others


def receiving(**seconds: float) -> dict[str, dict[str, list[dict[str, float | None]]]]:
    """What the receivers took over TLS."""
    return {"ct-8k-https": {f"{name} recv": [run_of(value)] for name, value in seconds.items()}}


@pytest.mark.parametrize(
    ("requests", "floor", "verdict", "at_best"),
    [
        (0.255, 0.181, "source-bound", 1.41),  # as fast as the source, and so never twice as fast as requests
        (0.400, 0.181, "target", 2.21),  # in spite of the source
        (0.255, 0.040, "missed", None),
        (0.255, None, "missed", None),
    ],
)
def test_a_goal_that_the_source_keeps_us_from(
    requests: float, floor: float | None, verdict: str, at_best: float | None, report: Any
) -> None:
    """Where we are nearly as fast as the source, a goal is not missed; what would be possible stands beside it."""
    given = {"transport": 0.186, "requests": requests} | ({} if floor is None else {"floor": floor})
    (goal,) = report.goals([], receiving(**given))
    assert goal.verdict == goal.to_json()["verdict"] == verdict
    assert goal.at_best == (None if at_best is None else pytest.approx(at_best, abs=0.01))
    assert report.goals_table([goal]).splitlines()[-1].endswith(f" {verdict} |")


def test_a_floor_is_not_reached_because_the_source_is_slow(report: Any) -> None:
    """The source's time is in both, and makes them alike."""
    peers = {"floor recv": [run_of(0.3)], "floor write": [run_of(0.4)], "asyncrad69 download": [run_of(0.5)]}
    (goal,) = report.goals([], {"ct-files": peers})
    assert (goal.measured, goal.verdict) == (1.25, "source-bound")


def test_rows_that_measure_the_source_are_marked(report: Any) -> None:
    """A star where a peer takes less than four times the source's own time; curl has no resident memory."""
    case = import_module("benchmarks.cases").SMOKE[0]
    peers = {"floor recv": [run_of(0.1)], "curl": [run_of(0.39)], "dicomtrolley": [run_of(0.4, rss_over_base=1 << 20)]}
    header, _, *rows = (line.split("|") for line in report.case_table(case, peers).splitlines()[2:])
    titles = [each.strip() for each in header]
    assert [row[titles.index("x source")].strip() for row in rows] == ["1.0", "3.9 *", "4.0"]
    assert [row[titles.index("RSS MiB")].strip() for row in rows] == ["-", "-", "1"]


@pytest.mark.parametrize(("walk_s", "verdict"), [(0.019, "stretch"), (0.05, "target"), (0.06, "missed")])
def test_the_share_of_the_walk(walk_s: float, verdict: str, report: Any) -> None:
    """The checks of completeness may take so much of the pipeline's CPU time."""
    goals = report.goals([], {"small-8k": {"asyncrad69": [run_of(1.0, walk_s=walk_s)]}})
    assert [(goal.measured, goal.verdict) for goal in goals] == [(pytest.approx(100 * walk_s), verdict)]
