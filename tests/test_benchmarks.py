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
