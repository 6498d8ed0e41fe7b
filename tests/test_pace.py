"""How the number of requests in flight is found."""

from __future__ import annotations

import pytest

from asyncrad69 import AsyncRad69, ServerBusy, TransferTimeout
from asyncrad69._pace import MOST, Pace
from asyncrad69.testing import SimulatedSource


class Source:
    """A source in the mind: *rate(n)* bytes per second with n requests in flight, in answers of 1000 bytes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def answers(self, pace: Pace, rate: float, count: int = 1) -> None:
        for _ in range(count):
            self.now_s += 1000 / rate
            pace.answered(size_bytes=1000, now_s=self.now_s, error=None)


def test_a_given_number_stays() -> None:
    """Whatever the source does, four is four, and there is nothing to explain."""
    pace, source = Pace(4), Source()
    source.answers(pace, 1e6, 100)
    pace.answered(size_bytes=0, now_s=1e6, error=ServerBusy("busy", http_status=503))
    assert (pace.allowed, pace.most, pace.explain()) == (4, 4, None)


def test_it_grows_while_that_pays() -> None:
    """A source that serves as many as ask, each as fast, is asked for all that is allowed, one more at a time."""
    pace, source, seen = Pace(None), Source(), [2]
    while pace.allowed < MOST:
        source.answers(pace, 1e6 * pace.allowed)
        if pace.allowed != seen[-1]:
            seen.append(pace.allowed)
        assert source.now_s < 1000
    assert seen[:4] == [2, 3, 4, 5]
    source.answers(pace, 1e6 * pace.allowed, 200)
    assert MOST // 2 < pace.allowed <= MOST


def test_it_stays_where_more_brings_nothing() -> None:
    """A source with five workers ends up with about five requests, not with sixteen."""
    pace, source = Pace(None), Source()
    at: list[int] = []
    for _ in range(2000):
        source.answers(pace, 1e6 * min(pace.allowed, 5))
        at.append(pace.allowed)
    assert sum(4 <= each <= 6 for each in at[500:]) > 0.9 * len(at[500:])
    assert max(at) <= 7
    assert "requests at once, where it brought" in (pace.explain() or "")


@pytest.mark.parametrize("error", [ServerBusy("busy", http_status=503), TransferTimeout("late", phase="idle")])
def test_a_busy_source_is_asked_for_half(error: ServerBusy | TransferTimeout) -> None:
    """Busy or silent: half as many, and never none."""
    pace, source = Pace(None), Source()
    while pace.allowed < 8:
        source.answers(pace, 1e6 * pace.allowed)
    for expected in (4, 2, 1, 1):
        pace.answered(size_bytes=0, now_s=source.now_s, error=error)
        assert pace.allowed == expected
    assert "the source was busy 4 times" in (pace.explain() or "")
    while pace.allowed == 1:  # it does not stay there for ever
        source.answers(pace, 1e6)
        assert source.now_s < 1000


def test_answers_at_the_same_moment() -> None:
    """A clock that stands still divides nothing by zero."""
    pace = Pace(None)
    for _ in range(50):
        pace.answered(size_bytes=1000, now_s=1.0, error=None)
    assert pace.allowed == 2


@pytest.mark.anyio
async def test_a_retrieve_that_finds_out_for_itself() -> None:
    """Everything comes, never with more requests than allowed, and the report explains the choice."""
    with SimulatedSource.demo(slices=20) as source:
        rad69 = AsyncRad69(source.url, concurrency="auto", instances_per_request=2)
        async with rad69, rad69.retrieve(source.references()) as retrieval:
            instances = [instance async for instance in retrieval]
        assert len(instances) == len(source.references())
        assert source.max_in_flight <= MOST
    assert [remark for remark in retrieval.report.remarks if remark.startswith("concurrency auto: ")]
