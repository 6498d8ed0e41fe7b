"""The benchmarks still run: no speed is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
        assert {"seconds", "first_s", "cpu_s", "rss_over_base", "stall_s", "received"} <= run.keys()


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
