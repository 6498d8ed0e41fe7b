"""``python -m benchmarks``: measure, print tables, write JSON and a plot."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .cases import FULL, QUICK, SMOKE
from .machine import about_machine
from .measure import installed, missing_case_need, missing_need, run_case
from .report import case_table, goals, goals_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .cases import Case
    from .report import Results

_PACKAGES: Final = (
    "asyncrad69", "httpx", "httpcore", "h11", "anyio", "multipart", "pydicom", "dicomtrolley", "requests", "aiohttp",
    "httpx-aiohttp",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what *arguments* ask for."""
    given = _parser().parse_args(arguments)
    if given.micro:
        _micro(given.json)
        return
    if given.plot and not installed("matplotlib"):
        sys.exit("--plot needs matplotlib: pip install --group bench .")
    chosen = _chosen(given)
    skipped = _skipped(chosen)
    for name, need in skipped.items():
        print(f"skipped: {name} ({need} is not installed)\n", flush=True)
    cases = [case for case in chosen if case.name not in skipped]
    machine = about_machine()
    begin = time.perf_counter()
    results = _measure(cases, given.rounds or (3 if given.quick else 5))
    reached = goals(cases, results)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if reached:
        print(goals_table(reached))
    print(f"\n{time.perf_counter() - begin:.0f} s in all; {machine['cores']} cores: ", end="")
    print(f"two processes at once did {machine['two_processes_work_of_one']} times the work of one")
    if given.json:
        document = _about(machine) | {
            "load_average_at_end": load,
            "skipped": skipped,
            "cases": {case.name: asdict(case) | {"title": case.title, "runs": results[case.name]} for case in cases},
            "goals": [goal.to_json() for goal in reached],
        }
        _write(given.json, document)
    if given.plot:
        from .plot import plot

        plot(cases, results, given.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast asyncrad69 is.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the cases that matter most, in less than 2 minutes")
    size.add_argument("--smoke", action="store_true", help="one tiny case, to see that everything works")
    size.add_argument("--micro", action="store_true", help="single functions instead, to find regressions")
    parser.add_argument("--only", metavar="CASES", help="cases by the beginning of their names, separated by commas")
    parser.add_argument("--rounds", type=int, help="how often each peer is measured; 5, or 3 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG there")
    return parser


def _chosen(given: argparse.Namespace) -> list[Case]:
    cases = SMOKE if given.smoke else QUICK if given.quick else FULL
    beginnings = tuple(given.only.split(",")) if given.only else ("",)
    chosen = [case for case in cases if case.name.startswith(beginnings)]
    if not chosen:
        sys.exit(f"no case begins with {given.only}; there are {', '.join(case.name for case in cases)}")
    return chosen


def _measure(cases: Iterable[Case], rounds: int) -> Results:
    results: Results = {}
    for case in cases:
        results[case.name] = run_case(case, rounds, _say)
        _say("")
        print(case_table(case, results[case.name]), end="\n\n", flush=True)
    return results


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _skipped(cases: Iterable[Case]) -> dict[str, str]:
    """The cases and the peers that cannot run here, and what they need."""
    peers = dict.fromkeys(peer for case in cases for peer in case.peers)
    needs = [(case.name, missing_case_need(case)) for case in cases] + [(peer, missing_need(peer)) for peer in peers]
    return {name: need for name, need in needs if need}


def _micro(path: Path | None) -> None:
    from .micro import micro, micro_table

    figures = micro()
    print(micro_table(figures))
    if path:
        _write(path, _about(about_machine()) | {"micro": figures})


def _about(machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "machine": machine,
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
