"""Who waits for whom: no wait without a bound, a slow consumer trips none, and a source that asks for time gets it."""

from __future__ import annotations

import asyncio
import random
from time import monotonic

import pytest

from asyncrad69 import Event, Retry, RetryScheduled, Timeout

from .driver import client, nothing_left, retrieve
from .server import Exchange, FaultServer, good, until_asked_again
from .wire import FAILURE, Error, Piece, Reply, Study, Writing


def test_slow_consumer_trips_no_timeout() -> None:
    """A consumer that takes several idle limits for each instance gets them all, in one request."""
    study = Study.of(per_series=6, rows=1000, columns=1000)
    got: dict[str, bytes] = {}

    async def main() -> None:
        async with client(server, timeout=Timeout(first_byte_s=5, idle_s=0.1)) as rad69:
            async with rad69.retrieve(study.references) as retrieval:
                async for instance in retrieval:
                    got[instance.reference.sop_instance_uid] = instance.data
                    await asyncio.sleep(0.25)
            assert retrieval.report.complete

    with nothing_left(), FaultServer(study, good) as server:
        asyncio.run(main())
    assert got == study.instances
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_source_that_asks_for_time_is_left_alone(status: str) -> None:
    """After one Retry-After no request of any retrieve of the client comes before that time has passed."""
    study = Study.of(series=8)
    busy_until = 0.0
    early: list[float] = []

    def busy_once(exchange: Exchange) -> None:
        nonlocal busy_until
        now = monotonic()
        if not busy_until:
            busy_until = now + 0.5
            exchange.send(Reply("", (Piece("body", b""),)), "length", status=status, headers=["Retry-After: 1"])
            return
        # Requests that were under way when the source became busy are no fault of the client's.
        if busy_until - 0.3 < now < busy_until:
            early.append(busy_until - now)
        exchange.pause(0.1)
        good(exchange)

    async def main() -> None:
        async with client(server, retry=Retry(wait_initial_s=0, wait_max_s=10), concurrency=2) as rad69:
            both = await asyncio.gather(retrieve(rad69, study), retrieve(rad69, study))
        for outcome in both:
            outcome.check(study, study.instances)

    with nothing_left(), FaultServer(study, busy_once) as server:
        asyncio.run(main())
    assert not early


def test_source_that_is_busy_in_a_good_answer_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDSRepositoryBusy comes with HTTP 200: what it refused is asked for again after a wait, as after HTTP 503."""
    study = Study.of()
    waits: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest / 100)

    def busy(exchange: Exchange) -> None:
        writing = Writing(status=FAILURE, errors=(Error("XDSRepositoryBusy"),))
        exchange.send(exchange.reply(writing, leave_out=exchange.wanted), "chunked")

    def note(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            waits.append(event.wait_s)

    async def main() -> None:
        async with client(server, retry=Retry(wait_initial_s=0.5), on_event=note) as rad69:
            (await retrieve(rad69, study)).check(study, study.instances)

    with nothing_left(), FaultServer(study, until_asked_again(busy)) as server:
        asyncio.run(main())
    assert waits == [0.005]
