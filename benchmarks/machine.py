"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

# How often in a third of a second; the interpreter's start does not count.
_SPIN: Final = """
import time
count, end = 0, time.perf_counter() + 0.33
while time.perf_counter() < end:
    sum(range(1000))
    count += 1
print(count)
"""


def about_machine() -> dict[str, Any]:
    """
    Processor, cores, system and Python, and what the cores are worth.

    A virtual machine may have two cores on paper and the time of one: there a source slows its client down, and a
    second thread saves nothing.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "two_processes_work_of_one": round(_two_at_once(), 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _two_at_once() -> float:
    """How many times the work of one process two do at the same time: 2 where each has a core of its own."""
    return _work(2) / _work(1)


def _work(processes: int) -> int:
    spinning = [
        subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(int(each.communicate()[0]) for each in spinning)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
