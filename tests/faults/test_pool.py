"""Cancelling as often as one likes costs no connection: the client serves the next retrieve as if nothing had been."""

from __future__ import annotations

import asyncio
import random

import pytest

from .driver import FULL, client, nothing_left, retrieve
from .server import Exchange, FaultServer, good
from .wire import Study

STUDY = Study.of(series=2, per_series=3)
CANCELS = 10_000 if FULL else 300
LIMIT = 4


def slow(exchange: Exchange) -> None:
    """A good answer, after a moment in which much can be cancelled."""
    exchange.pause(0.002)
    good(exchange)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1])
def test_random_cancels_leave_the_client_usable(seed: int) -> None:
    """Twice as many retrieves as connections, cancelled at random moments: the next one gets everything."""
    chance = random.Random(seed)
    cancelled = 0

    async def cancel_one() -> int:
        task = asyncio.create_task(retrieve(rad69, STUDY, concurrency=LIMIT // 2))
        await asyncio.sleep(chance.uniform(0, 0.02))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().check(STUDY, STUDY.instances)
        return int(task.cancelled())

    async def main() -> None:
        nonlocal cancelled
        async with rad69:
            for _ in range(CANCELS // (2 * LIMIT)):
                cancelled += sum(await asyncio.gather(*(cancel_one() for _ in range(2 * LIMIT))))
            assert asyncio.all_tasks() == {asyncio.current_task()}
            (await retrieve(rad69, STUDY)).check(STUDY, STUDY.instances)

    with nothing_left(), FaultServer(STUDY, slow) as server:
        rad69 = client(server, concurrency=LIMIT)
        asyncio.run(main())
    assert cancelled > CANCELS // 3
