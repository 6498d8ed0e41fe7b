"""How long a source that is busy, broken or away is left alone, and when it is given up. No I/O."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from ._errors import ConnectionFailed, ServerBusy

if TYPE_CHECKING:
    from ._errors import Rad69Error
    from ._options import Retry


class Gate:
    """
    Closed while a source that said it is busy wants to be left alone. One for all retrieves of a client.

    Attributes:
        opens_at: When the next request may go out, by the event loop's clock.
    """

    def __init__(self) -> None:
        self.opens_at: float = -math.inf

    def close_until(self, time: float) -> None:
        """Let nothing through before *time*."""
        self.opens_at = max(self.opens_at, time)


class Patience:
    """
    How long to wait, and when to stop asking a source that answers nothing.

    Args:
        retry: Its rules.
        in_flight: How many exchanges there are at once.
    """

    def __init__(self, retry: Retry, *, in_flight: int) -> None:
        self._retry = retry
        # As many exchanges fail at once as are in flight: a round of them counts like one.
        self._in_flight = max(1, in_flight)
        self._barren = 0
        self._smallest = math.inf
        self._ever = False

    def note(self, error: Rad69Error | None, *, progress: bool, size: int) -> bool:
        """
        Note the end of an exchange for *size* instances; whether to go on at all.

        Splitting a request in two could turn a source that is down into thousands of requests. So exchanges in a
        row that bring nothing are counted over the whole retrieve: a few end it where nothing ever came, several
        times as many where something did. One for fewer instances than any before it does not count: it narrows down
        which instance is at fault. Nor does a source that asks for less, until an instance was asked for alone.
        """
        self._ever = self._ever or progress
        if progress or error is None:
            self._barren, self._smallest = 0, math.inf
        elif isinstance(error, ConnectionFailed | ServerBusy) or size >= self._smallest:
            self._barren += size == 1 or not error.asks_for_less
        else:
            self._smallest = size
        return self._retry.attempts == 1 or self._barren < self._limit(error)

    def _limit(self, error: Rad69Error | None) -> int:
        attempts = self._retry.attempts * self._in_flight
        if isinstance(error, ConnectionFailed):
            return attempts
        return max(30, 5 * attempts) if self._ever else 2 * attempts

    def wait_s(self, error: Rad69Error | None, *, progress: bool) -> float:
        """How long to wait before what is left is asked for again, in seconds (full jitter)."""
        if isinstance(error, ServerBusy) and error.retry_after_s is not None:
            return min(max(error.retry_after_s, 0.1), self._retry.wait_max_s)
        if progress or error is None or error.asks_for_less:
            return 0.0
        rounds = min(self._barren // self._in_flight, 16)
        longest = min(self._retry.wait_initial_s * 2**rounds, self._retry.wait_max_s)
        return random.uniform(0, longest)  # noqa: S311 - nothing secret
