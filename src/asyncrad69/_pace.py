"""How many requests at once, where the client is asked to find out. No I/O."""

from __future__ import annotations

import math
from typing import Final

from ._errors import Rad69Error, ServerBusy, TransferTimeout

#: The most requests at once under ``concurrency="auto"``: beyond it, hospital sources queue or refuse.
MOST: Final = 16
_FIRST: Final = 2
# Less than this is noise: one request more has to bring at least so much more, one less may cost as little.
_WORTHWHILE: Final = 1.05
# A shorter round says more about its few answers than about the source.
_SHORTEST_ROUND_S: Final = 0.1
# Rounds to stay at a number that has proved best before another one is tried.
_SETTLED_ROUNDS: Final = 8
# How long a number that was too much is not tried again; the second time twice as long, and so on.
_REMEMBERED_S: Final = 60.0


class Pace:
    """
    Additive increase while it pays, multiplicative decrease when the source is busy.

    A round is as many answers as requests are allowed, or a multiple of that, until a tenth of a second is over. One
    more request stays if a round with it brings clearly more bytes per second; one less stays if that costs next to
    nothing. How long answers take is no measure of its own: what more requests only make longer brings no more per
    second. But a source that answers too late counts like one that says that it is busy, and halves the number. What
    was too much is remembered for a while.

    Args:
        concurrency: The number, or ``None`` to find it.

    Attributes:
        allowed: How many requests may be in flight now.
    """

    def __init__(self, concurrency: int | None) -> None:
        self.allowed = _FIRST if concurrency is None else concurrency
        self._adapts = concurrency is None
        self._in_flight = 0
        self._most_in_flight = 0
        # The best number so far, what it brings per second, and where to look for a better one.
        self._settled = self.allowed
        self._rate = 0.0
        self._step = 1
        self._rest = 0
        self._busy = 0
        self._lowered = 0
        self._borne = MOST
        self._forgets_at_s = math.inf
        self._started_s: float | None = None
        self._bytes = 0
        self._answers = 0
        self._reached = 0

    @property
    def most(self) -> int:
        """What `allowed` can become."""
        return MOST if self._adapts else self.allowed

    def begun(self) -> int:
        """A request goes out. `answered` wants to be given what this returns: how often the number was lowered."""
        self._in_flight += 1
        self._reached = max(self._reached, self._in_flight)
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        return self._lowered

    def answered(self, begun: int, *, size_bytes: int, now_s: float, error: Rad69Error | None) -> None:
        """An exchange is over: it brought *size_bytes* and ended with *error*, or well."""
        in_flight, self._in_flight = self._in_flight, self._in_flight - 1
        busy = isinstance(error, ServerBusy | TransferTimeout)
        self._busy += busy
        # One that went out before the last decrease says nothing about what that did: one burst is one decrease.
        if not self._adapts or begun < self._lowered:
            return
        if busy:
            self._lower(in_flight, now_s)
            return
        self._bytes += size_bytes
        self._answers += 1
        if self._started_s is None:
            # The first answer of a round was under way before it, and belongs to the number before.
            self._started_s, self._bytes, self._answers = now_s, 0, 0
        # Answers come in bursts: a round ends where it began in one, or the rate is off by a part of a burst.
        elif self._answers % self.allowed == 0 and now_s >= self._started_s + _SHORTEST_ROUND_S:
            if self._reached >= self.allowed:
                self._end_round(self._bytes / (now_s - self._started_s), now_s)
            self._start_round()

    def explain(self) -> str | None:
        """What was found, in words, for the report; ``None`` where the number was given, or nothing was asked for."""
        if not self._adapts or not self._most_in_flight:
            return None
        number = min(self._settled, self._most_in_flight)
        found = f"which brought {self._rate / 1e6:.1f} MB/s" if self._rate else "too few answers to compare"
        busy = f"; busy or late answers: {self._busy}" if self._busy else ""
        return f"concurrency auto: {number} at once, {found}; at most {self._most_in_flight} in flight{busy}"

    def _lower(self, refused: int, now_s: float) -> None:
        self._lowered += 1
        self._borne = max(1, refused - 1)
        self._forgets_at_s = now_s + self._lowered * _REMEMBERED_S
        if self._settled > self._borne:
            self._settled, self._rate = self._borne, 0.0
        self._step = 1
        self.allowed = max(1, refused // 2)
        self._start_round()

    def _end_round(self, rate: float, now_s: float) -> None:
        change = self.allowed - self._settled
        if change < -1:
            # The source was busy. The way back is as slow as the way up was.
            self.allowed += 1
        elif change and rate <= self._rate * _WORTHWHILE**change:
            self._turn_back()
        else:
            self._rate = rate if change or not self._rate else (self._rate + rate) / 2
            self._settled = self.allowed
            self._rest = 0 if change else max(0, self._rest - 1)
            if not self._rest:
                self._try_another(MOST if now_s >= self._forgets_at_s else self._borne)

    def _try_another(self, most: int) -> None:
        another = self._settled + self._step
        if 1 <= another <= most:
            self.allowed = another
        else:
            self._turn_back()

    def _turn_back(self) -> None:
        self.allowed = self._settled
        self._step = -self._step
        self._rest = _SETTLED_ROUNDS

    def _start_round(self) -> None:
        self._started_s = None
        self._bytes = 0
        self._answers = 0
        self._reached = 0
