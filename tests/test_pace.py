"""How the number of requests in flight is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrad69 import AsyncRad69, ServerBusy, TransferTimeout
from asyncrad69._pace import MOST, Pace
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrad69._errors import Rad69Error

BUSY = ServerBusy("busy", http_status=503)


class Source:
    """
    A source in the mind, kept as busy as the pace allows, by its oldest request first.

    Args:
        pace: Who asks it.
        rate: How many bytes per second it brings in all, by how many are in flight.
        room: How many it takes at once; the next one is refused.
        requests: How many there are to ask.
    """

    def __init__(
        self, pace: Pace, rate: Callable[[int], float] = lambda _: 1e6, *, room: int = MOST, requests: int = 1_000_000
    ) -> None:
        self.pace = pace
        self.rate = rate
        self.room = room
        self.left = requests
        self.now_s = 0.0
        self.sent: list[int] = []
        self.refusals = 0
        self.at: list[int] = []

    def fill(self) -> None:
        """Send what may be sent."""
        while len(self.sent) < self.pace.allowed and self.left:
            self.left -= 1
            self.sent.append(self.pace.begun())

    def answer(self, count: int = 1) -> None:
        """Answer the oldest of as many as may be in flight, or refuse the youngest; *count* times."""
        for _ in range(count):
            self.fill()
            if len(self.sent) > self.room:
                self.refusals += 1
                self.end(self.sent.pop(), BUSY)
                self.left += 1  # a refused one is asked for again, a second later
                self.now_s += 1.0
            elif self.sent:
                self.now_s += 100_000 / self.rate(len(self.sent))
                self.end(self.sent.pop(0))
            self.at.append(self.pace.allowed)

    def end(self, begun: int, error: Rad69Error | None = None) -> None:
        """The end of a request."""
        self.pace.answered(begun, size_bytes=0 if error else 100_000, now_s=self.now_s, error=error)

    def answer_until(self, allowed: int) -> None:
        """Go on until so many are allowed."""
        while self.pace.allowed != allowed:
            self.answer()
            assert len(self.at) < 10_000


def waiting(number: int) -> float:
    """A source that needs a second for each answer, however many it works at."""
    return number * 1e5


def test_a_given_number_stays() -> None:
    """Whatever the source does, four is four, and there is nothing to explain."""
    pace = Pace(4)
    source = Source(pace, waiting)
    source.answer(100)
    source.end(pace.begun(), BUSY)
    assert (pace.allowed, pace.most, pace.explain()) == (4, 4, None)


def test_it_grows_while_that_pays() -> None:
    """A source that serves as many as ask, each as fast, is asked for all that is allowed, one more at a time."""
    pace = Pace(None)
    source = Source(pace, waiting)
    source.answer_until(MOST)
    assert list(dict.fromkeys(source.at)) == list(range(2, MOST + 1))
    source.answer(2000)
    assert set(source.at[1000:]) == {MOST - 1, MOST}  # whether one less does as well is tried now and then


def test_it_stays_where_more_brings_nothing() -> None:
    """A source with five workers ends up with five requests, not with sixteen."""
    pace = Pace(None)
    source = Source(pace, lambda number: 1e6 * min(number, 5))
    source.answer(2000)
    assert sum(each == 5 for each in source.at[500:]) > 0.8 * len(source.at[500:])
    assert max(source.at) == 6
    assert pace.explain() == "concurrency auto: 5 at once, which brought 5.0 MB/s; at most 6 in flight"


def test_it_asks_for_less_where_less_does_as_well() -> None:
    """A source that works at one after the other is asked one after the other: more would only wait there."""
    pace = Pace(None)
    Source(pace).answer(1000)
    assert (pace.explain() or "").startswith("concurrency auto: 1 at once, which brought 1.0 MB/s;")


def test_a_source_that_gets_slower() -> None:
    """What proved best an hour ago is not a measure for ever."""
    pace = Pace(None)
    source = Source(pace, waiting)
    source.answer_until(8)
    source.rate = lambda number: 1e4 * min(number, 3)
    source.answer(3000)
    assert pace.allowed <= 4
    assert "which brought 0.0 MB/s" in (pace.explain() or "")


@pytest.mark.parametrize("error", [BUSY, TransferTimeout("late", phase="idle")])
def test_a_busy_source_is_asked_for_half(error: Rad69Error) -> None:
    """Busy or silent: half as many, and never none."""
    pace = Pace(None)
    source = Source(pace, waiting)
    source.answer_until(8)
    for expected in (4, 2, 1, 1):
        source.fill()
        source.end(source.sent.pop(), error)
        assert pace.allowed == expected
        while source.sent:
            source.end(source.sent.pop())
    assert (pace.explain() or "").endswith("; at most 8 in flight; busy or late answers: 4")
    source.now_s += 1000
    source.answer_until(2)  # it does not stay at one for ever


def test_one_burst_is_one_decrease() -> None:
    """Four that are refused together were sent before anybody knew: they say it once."""
    pace = Pace(None)
    source = Source(pace, waiting)
    source.answer_until(8)
    source.fill()
    for begun in source.sent[4:]:
        source.end(begun, BUSY)
    assert pace.allowed == 4
    assert (pace.explain() or "").endswith("busy or late answers: 4")
    for begun in source.sent[:4]:  # nor do those that were answered belong to the round after it
        source.end(begun)
    assert pace.allowed == 4


def test_what_was_refused_is_remembered() -> None:
    """A source with room for four says so once, then is asked four at once, and five much later."""
    pace = Pace(None)
    source = Source(pace, waiting, room=4)
    source.answer_until(5)
    source.answer(100)
    assert source.refusals == 1
    assert list(dict.fromkeys(source.at[-100:])) == [2, 3, 4]
    assert pace.explain() == (
        "concurrency auto: 4 at once, which brought 0.4 MB/s; at most 5 in flight; busy or late answers: 1"
    )
    source.answer(8000)  # half an hour and a bit
    assert 2 < source.refusals < 10
    source.room = 6
    source.answer(8000)
    assert pace.allowed > 4


def test_a_source_with_less_room_than_before() -> None:
    """Where the number that proved best is refused, there is nothing to say for it any more."""
    pace = Pace(None)
    source = Source(pace, waiting)
    source.answer_until(8)
    source.room = 3
    source.answer_until(4)
    assert "7 at once" in (pace.explain() or "")  # it was, and eight at once were not
    source.answer_until(2)
    assert "3 at once, too few answers to compare" in (pace.explain() or "")
    source.answer(100)
    assert "3 at once, which brought 0.3 MB/s" in (pace.explain() or "")


def test_a_few_requests_say_nothing() -> None:
    """One request is one in flight, whatever is allowed; and none is not worth a word."""
    pace = Pace(None)
    assert pace.explain() is None
    Source(pace, requests=1).answer()
    assert pace.explain() == "concurrency auto: 1 at once, too few answers to compare; at most 1 in flight"


def test_more_is_not_tried_where_there_are_not_enough() -> None:
    """A number that was never reached, as requests came one by one, is not said to bring anything."""
    pace = Pace(None)
    source = Source(pace, waiting)
    for _ in range(20):
        source.left = 1
        source.answer()
    assert pace.allowed == 2
    assert pace.explain() == "concurrency auto: 1 at once, too few answers to compare; at most 1 in flight"
    source.left = 100
    source.answer_until(3)


def test_a_short_round_says_nothing() -> None:
    """Two answers of a moment are not a rate; nor does a clock that stands still divide by zero."""
    pace = Pace(None)
    source = Source(pace, lambda _: 1e6 * 100_000)
    source.answer(50)
    assert pace.allowed == 2
    source.rate = lambda _: 1e6
    source.answer_until(3)
    assert pace._rate == pytest.approx(52 * 1e5 / (0.1 + 50e-6), rel=0.1)


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


@pytest.mark.anyio
async def test_a_retrieve_of_one_request() -> None:
    """What the report explains is what was in flight."""
    with SimulatedSource.demo() as source:
        rad69 = AsyncRad69(source.url, concurrency="auto", instances_per_request=0)
        async with rad69, rad69.retrieve(source.references()) as retrieval:
            assert [instance async for instance in retrieval]
    assert list(retrieval.report.remarks) == [
        "concurrency auto: 1 at once, too few answers to compare; at most 1 in flight"
    ]
