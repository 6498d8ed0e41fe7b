"""How many requests at once, where the client is asked to find out. No I/O."""

from __future__ import annotations

from typing import Final

from ._errors import Rad69Error, ServerBusy, TransferTimeout

#: The most requests at once under ``concurrency="auto"``: beyond it, hospital sources queue or refuse.
MOST: Final = 16
_FIRST: Final = 2
# Less than this is noise: one request more has to bring at least so much more.
_WORTHWHILE: Final = 1.05
# Rounds to stay at a number that has proved best before another one is tried.
_SETTLED_ROUNDS: Final = 8


class Pace:
    """
    Additive increase while it pays, multiplicative decrease when the source is busy.

    A round is as many answers as requests are in flight. A round that brings clearly more bytes per second than the
    best so far is followed by one with a request more; one that does not, by a return to the best. A source that
    answers that it is busy, or not at all, halves the number.

    Args:
        concurrency: The number, or ``None`` to find it.

    Attributes:
        allowed: How many requests may be in flight now.
    """

    def __init__(self, concurrency: int | None) -> None:
        self.allowed = _FIRST if concurrency is None else concurrency
        self._adapts = concurrency is None
        self._best = (0.0, self.allowed)
        self._tried = {self.allowed}
        self._rest = 0
        self._busy = 0
        self._started_s: float | None = None
        self._bytes = 0
        self._answers = 0

    @property
    def most(self) -> int:
        """What `allowed` can become."""
        return MOST if self._adapts else self.allowed

    def answered(self, *, size_bytes: int, now_s: float, error: Rad69Error | None) -> None:
        """An exchange is over: it brought *size_bytes* and ended with *error*, or well."""
        if not self._adapts:
            return
        if isinstance(error, ServerBusy | TransferTimeout):
            self._busy += 1
            self._change(max(1, self.allowed // 2))
            self._best = (0.0, self.allowed)
            self._rest = _SETTLED_ROUNDS
            return
        self._bytes += size_bytes
        self._answers += 1
        if self._started_s is None:
            # The first answer of a round was under way before it, and belongs to the number before.
            self._started_s, self._bytes, self._answers = now_s, 0, 0
        elif self._answers >= self.allowed and now_s > self._started_s:
            self._end_round(self._bytes / (now_s - self._started_s))

    def explain(self) -> str | None:
        """What was found, in words, for the report; ``None`` where the number was given."""
        if not self._adapts:
            return None
        busy = f"; the source was busy {self._busy} times" if self._busy else ""
        rate, best = self._best
        found = f", where it brought {rate / 1e6:.1f} MB/s" if rate else ""
        return f"concurrency auto: {best} requests at once{found}; {min(self._tried)} to {max(self._tried)} tried{busy}"

    def _end_round(self, rate: float) -> None:
        if self._rest:
            self._rest -= 1
            self._start_round()
            return
        best_rate, best = self._best
        if rate > best_rate * _WORTHWHILE:
            self._best = (rate, self.allowed)
            self._change(min(self.allowed + 1, MOST))
        else:
            self._rest = _SETTLED_ROUNDS
            # What was best then may not be now: forgetting some of it lets another number be tried again.
            self._best = (best_rate / _WORTHWHILE, best)
            self._change(best)

    def _change(self, allowed: int) -> None:
        self.allowed = allowed
        self._tried.add(allowed)
        self._start_round()

    def _start_round(self) -> None:
        self._started_s = None
        self._bytes = 0
        self._answers = 0
