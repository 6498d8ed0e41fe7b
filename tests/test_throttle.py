"""A client that is kept slow: what the limits let through, and that no timeout runs while it waits."""

from __future__ import annotations

import anyio
import pytest

from asyncrad69 import AsyncRad69, InstanceReference, Retry, Timeout
from asyncrad69._throttle import Throttle
from asyncrad69.testing import SimulatedSource
from source import Scripted, ScriptedSource


def test_requests_keep_their_distance() -> None:
    """At 30 a minute one goes out every two seconds, whenever it asks; a long rest saves nothing up."""
    throttle = Throttle(max_bytes_per_s=None, max_requests_per_minute=30)
    assert [throttle.request_at(now) for now in (100.0, 100.0, 101.0, 102.0, 103.0)] == [
        100.0,
        102.0,
        102.0,
        102.0,
        104.0,
    ]
    assert [throttle.request_at(now) for now in (500.0, 500.0)] == [500.0, 502.0]


def test_blocks_take_the_time_that_their_bytes_do() -> None:
    """All that read share one rate, and what was not used is gone."""
    throttle = Throttle(max_bytes_per_s=100, max_requests_per_minute=None)
    assert [throttle.read_at(50, now) for now in (10.0, 10.0, 10.5, 20.0)] == [10.5, 11.0, 11.5, 20.5]


def test_without_limits_nothing_waits() -> None:
    """Neither for a request nor for a block."""
    throttle = Throttle(max_bytes_per_s=None, max_requests_per_minute=None)
    assert [throttle.request_at(5.0), throttle.read_at(10**9, 5.0), throttle.request_at(5.0)] == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("limit", ["max_bytes_per_s", "max_requests_per_minute"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_that_let_nothing_through(limit: str, value: int) -> None:
    """Said before anything is sent."""
    with pytest.raises(ValueError, match=f"{limit} is more than 0"):
        AsyncRad69("http://localhost/rad69", **{limit: value})  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_limited_client_is_slow_and_trips_no_timeout() -> None:
    """It takes at least as long as the rate says, much longer than the limits for idling, and everything comes."""
    with SimulatedSource.demo(slices=1, read_size=16 * 1024) as source:
        [*_, last] = source.references()
        size = len(source.data(last.sop_instance_uid))
        timeout = Timeout(idle_s=0.2, total_s=0.5, first_byte_s=5)
        async with AsyncRad69(source.url, max_bytes_per_s=size, timeout=timeout) as rad69:
            began = anyio.current_time()
            came = [instance.data async for instance in rad69.instances(last)]
            took = anyio.current_time() - began
        assert came == [source.data(last.sop_instance_uid)]
    assert took >= 1


@pytest.mark.anyio
async def test_a_limited_client_asks_seldom() -> None:
    """Requests of one retrieve, though there are workers enough for all at once, begin one after the other."""
    with SimulatedSource.demo(slices=1) as source:
        async with AsyncRad69(source.url, max_requests_per_minute=60 / 0.05, concurrency=16) as rad69:
            began = anyio.current_time()
            async for _ in rad69.instances(source.references()):
                pass
            took = anyio.current_time() - began
    assert took >= 0.05 * (len(source.requests) - 1)


BUSY = Scripted(status="503 Busy", headers=("Retry-After: 3600",))
TWO = [InstanceReference("1.2", "1.2.1", f"1.2.1.{number}", repository_unique_id="1.9") for number in (1, 2)]


@pytest.mark.anyio
async def test_a_source_that_gets_busy_is_not_asked_by_those_that_waited_for_their_turn() -> None:
    """The second request waits for the rate while the first one is told to come back in an hour."""
    with ScriptedSource(lambda _: BUSY) as source:
        settings = {"max_requests_per_minute": 60, "retry": Retry(wait_max_s=3600), "instances_per_request": 1}
        async with AsyncRad69(source.url, **settings) as rad69:  # type: ignore[arg-type]
            with anyio.move_on_after(0.5):
                async for _ in rad69.instances(TWO):
                    pass
    assert len(source.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["415 Unsupported Media Type", "401 Unauthorized"])
async def test_a_question_put_in_another_way_is_another_request(status: str) -> None:
    """In another packaging, or with another token: it waits for the rate as any other."""

    async def token() -> str:
        return "x"

    with ScriptedSource(lambda _: Scripted(status=status)) as source:
        async with AsyncRad69(source.url, max_requests_per_minute=1, auth=token) as rad69:
            with anyio.move_on_after(0.5) as scope:
                await rad69.get_dataset(TWO[0])
    assert scope.cancelled_caught
    assert len(source.requests) == 1
