"""Most answers wrong at random: what ends without an error is complete and right, and what is not is reported."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

from asyncrad69 import Retry, Timeout

from .chaos import ABNORMAL, Chaos
from .driver import FULL, SUMMARIES, client, nothing_left, retrieve
from .server import FaultServer
from .wire import Study

JOBS = 1000 if FULL else 20
SEED = int(os.environ.get("RAD69_TEST_SEED", "20261124"))

#: As patient as one has to be where one answer of seven is good.
PATIENT = Retry(attempts=14, wait_initial_s=0, wait_max_s=0)


@pytest.mark.timeout(3600)
def test_chaos_loses_nothing_silently() -> None:
    """Jobs against a source with at least 80 % abnormal answers: 0 silent losses, 0 duplicates, 0 wrong bytes."""
    figures: Counter[str] = Counter()
    with nothing_left():
        asyncio.run(_jobs(figures))
    share = figures["abnormal"] / figures["answers"]
    SUMMARIES.append(
        f"chaos: {figures['jobs']} jobs, {figures['answers']} answers, {share:.0%} abnormal; "
        f"{figures['delivered']} of {figures['asked']} instances delivered, {figures['reported']} reported as failed; "
        "0 silent, 0 duplicates, 0 wrong bytes"
    )
    assert share > ABNORMAL - (0.05 if FULL else 0.15)
    assert figures["delivered"] > 0.9 * figures["asked"]


async def _jobs(figures: Counter[str]) -> None:
    for job in range(JOBS):
        study = Study.of(series=1 + job % 4, per_series=2 + job % 7, rows=20, columns=30, number=1 + job % 5)
        chaos = Chaos(SEED + job)
        with FaultServer(study, chaos) as server:
            options = {"retry": PATIENT, "timeout": Timeout(first_byte_s=0.3, idle_s=0.3)}
            async with client(server, concurrency=1 + job % 5, **options) as rad69:
                outcome = await retrieve(rad69, study)
        # The check is the oracle: whatever was delivered is right, and what was not is in the report and in the error.
        outcome.check(study, outcome.uids)
        figures["jobs"] += 1
        figures["asked"] += len(study.references)
        figures["delivered"] += len(outcome.delivered)
        figures["reported"] += len(study.references) - len(outcome.delivered)
        figures["answers"] += chaos.answers
        figures["abnormal"] += chaos.abnormal
