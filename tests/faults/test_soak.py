"""Hours of trouble in small: memory and open files stay where they were."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from asyncrad69 import Retry, Timeout

from .chaos import Chaos
from .driver import SUMMARIES, client, nothing_left, open_files, retrieve
from .server import FaultServer
from .wire import Study

SECONDS = float(os.environ.get("RAD69_SOAK_S", "3"))
TASKS = 8
PATIENT = Retry(attempts=14, wait_initial_s=0, wait_max_s=0)

# Arenas and buffers still grow after the first third of a short run; a leak of a reply per retrieve would pass this
# within seconds.
_GROWTH = 64 << 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux: /proc/self/statm")


def _resident() -> int:
    """Memory of this process, the source's included, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(24 * 3600)
def test_soak() -> None:
    """Tasks that retrieve without end from a source in chaos: nothing silent, RSS and open files flat."""
    figures: Counter[str] = Counter()
    samples: list[tuple[int, int]] = []
    with nothing_left():
        asyncio.run(_soak(figures, samples))
    start = samples[len(samples) // 3]
    end = samples[-1]
    SUMMARIES.append(
        f"soak: {SECONDS:.0f} s, {TASKS} tasks, {figures['retrieves']} retrieves, {figures['delivered']} instances, "
        f"{figures['reported']} reported as failed, 0 silent; "
        f"RSS {start[0] / 1e6:.0f} -> {end[0] / 1e6:.0f} MB, open files at most {max(files for _, files in samples)}"
    )
    assert figures["retrieves"] > TASKS
    assert end[0] - start[0] < _GROWTH
    # Each task has at most two requests in flight, and the source the other end of each.
    assert max(files for _, files in samples) - samples[0][1] < 8 * TASKS


async def _soak(figures: Counter[str], samples: list[tuple[int, int]]) -> None:
    study = Study.of(series=2, per_series=4, rows=100, columns=200)
    end = monotonic() + SECONDS
    with FaultServer(study, Chaos(1)) as server:
        samples.append((_resident(), open_files()))
        options = {"retry": PATIENT, "timeout": Timeout(first_byte_s=0.3, idle_s=0.3)}
        async with client(server, concurrency=2, **options) as rad69:

            async def consume() -> None:
                while monotonic() < end:
                    outcome = await retrieve(rad69, study)
                    outcome.check(study, outcome.uids)
                    figures["retrieves"] += 1
                    figures["delivered"] += len(outcome.delivered)
                    figures["reported"] += len(study.references) - len(outcome.delivered)

            async def sample() -> None:
                while monotonic() < end:
                    await asyncio.sleep(SECONDS / 30)
                    samples.append((_resident(), open_files()))
                    server.requests.clear()

            async with asyncio.TaskGroup() as group:
                for _ in range(TASKS):
                    group.create_task(consume())
                group.create_task(sample())
