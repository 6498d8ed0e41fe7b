"""From those that bring to the one that takes: order, waiting, and that nothing is lost or handed over twice."""

from __future__ import annotations

import asyncio

import pytest
from anyio import EndOfStream, create_task_group
from anyio.lowlevel import checkpoint

from asyncrad69._handover import Handover

pytestmark = pytest.mark.anyio


async def _settle() -> None:
    for _ in range(5):
        await checkpoint()


async def test_a_giver_waits_until_its_item_is_taken() -> None:
    handover, untaken = _handover()
    given: list[int] = []

    async def give(item: int) -> None:
        await handover.give(item)
        given.append(item)

    async with create_task_group() as group:
        for item in (1, 2):
            group.start_soon(give, item)
        await _settle()
        assert given == []
        taken = [await handover.take()]
        await _settle()
        assert given == taken
        taken.append(await handover.take())
    assert sorted(taken) == sorted(given) == [1, 2]
    assert untaken == []


async def test_a_giver_goes_on_at_once_where_somebody_waits() -> None:
    handover, untaken = _handover()
    taken: list[int] = []

    async def take() -> None:
        taken.append(await handover.take())

    async with create_task_group() as group:
        group.start_soon(take)
        group.start_soon(take)
        await _settle()
        await handover.give(1)
        await handover.give(2)
        assert taken == []  # neither had to wait for the taker's turn
    assert sorted(taken) == [1, 2]  # trio shuffles who goes first
    assert untaken == []


async def test_an_item_whose_giver_is_cancelled_is_nobodys() -> None:
    handover, untaken = _handover()
    async with create_task_group() as group:
        group.start_soon(handover.give, 1)
        await _settle()
        group.cancel_scope.cancel()
    assert untaken == [1]
    handover.close()
    with pytest.raises(EndOfStream):
        await handover.take()
    assert untaken == [1]


async def test_an_item_that_was_taken_is_not_given_back_though_its_giver_is_cancelled() -> None:
    handover, untaken = _handover()
    async with create_task_group() as group:
        group.start_soon(handover.give, 1)
        await _settle()
        assert await handover.take() == 1
        group.cancel_scope.cancel()
    assert untaken == []


@pytest.mark.parametrize("others", [0, 1])
def test_an_item_given_to_a_task_that_is_cancelled_goes_to_whoever_asks_next(others: int) -> None:
    # asyncio's own cancellation, as of `asyncio.wait_for`; anyio's does not reach a task that is about to go on.
    async def scenario() -> None:
        handover, untaken = _handover()
        first = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(handover.take()) for _ in range(others)]
        await asyncio.sleep(0)
        await handover.give(1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert [await task for task in waiting or [asyncio.create_task(handover.take())]] == [1]
        assert untaken == []

    asyncio.run(scenario())


def test_an_item_given_to_a_task_that_is_cancelled_is_nobodys_where_nobody_asks_again() -> None:
    async def scenario() -> None:
        handover, untaken = await _given_to_a_cancelled_task()
        handover.abandon()
        assert untaken == [1]
        handover.close()
        with pytest.raises(EndOfStream):
            await handover.take()
        assert untaken == [1]

    asyncio.run(scenario())


def test_an_item_given_to_a_task_that_is_cancelled_is_there_after_the_end() -> None:
    async def scenario() -> None:
        handover, untaken = await _given_to_a_cancelled_task()
        handover.close()
        assert await handover.take() == 1
        with pytest.raises(EndOfStream):
            await handover.take()
        assert untaken == []

    asyncio.run(scenario())


def test_an_item_is_nobodys_if_all_is_abandoned_before_its_taker_learns_of_the_cancellation() -> None:
    async def scenario() -> None:
        handover, untaken = _handover()
        first = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        await handover.give(1)
        first.cancel()
        handover.abandon()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert untaken == [1]

    asyncio.run(scenario())


async def test_a_taker_that_is_cancelled_while_it_waits_takes_nothing() -> None:
    handover, untaken = _handover()
    async with create_task_group() as group:
        group.start_soon(handover.take)
        await _settle()
        group.cancel_scope.cancel()
    async with create_task_group() as group:
        group.start_soon(handover.give, 1)
        await _settle()
        assert await handover.take() == 1
    assert untaken == []


async def test_closing_it_wakes_who_waits() -> None:
    handover, _ = _handover()
    ended: list[bool] = []

    async def take() -> None:
        with pytest.raises(EndOfStream):
            await handover.take()
        ended.append(True)

    async with create_task_group() as group:
        group.start_soon(take)
        await _settle()
        handover.close()
    assert ended == [True]


async def test_a_giver_that_is_left_behind_goes_on() -> None:
    handover, untaken = _handover()
    async with create_task_group() as group:
        group.start_soon(handover.give, 1)
        await _settle()
        handover.abandon()
    assert untaken == [1]


def _handover() -> tuple[Handover[int], list[int]]:
    untaken: list[int] = []
    return Handover(untaken.append), untaken


async def _given_to_a_cancelled_task() -> tuple[Handover[int], list[int]]:
    handover, untaken = _handover()
    first = asyncio.create_task(handover.take())
    await asyncio.sleep(0)
    await handover.give(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    return handover, untaken
