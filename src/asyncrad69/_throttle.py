"""How fast a client may be, where its user wants it slower than it could. No I/O."""

from __future__ import annotations

import math


class Throttle:
    """
    When the next request may go out, and when the next block be read. One for all retrieves of a client.

    Nothing is saved up: a client that was idle is no faster afterwards.

    Args:
        max_bytes_per_s: What reply bodies may bring per second, all together; ``None`` for no limit.
        max_requests_per_minute: How many requests may begin per minute, repetitions included; ``None`` for no limit.
    """

    def __init__(self, *, max_bytes_per_s: float | None, max_requests_per_minute: float | None) -> None:
        for name, value in (("max_bytes_per_s", max_bytes_per_s), ("max_requests_per_minute", max_requests_per_minute)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} is more than 0, or None for no limit; not {value}")
        self._s_per_byte = 1 / max_bytes_per_s if max_bytes_per_s else 0.0
        self._s_per_request = 60 / max_requests_per_minute if max_requests_per_minute else 0.0
        self.reset()

    def reset(self) -> None:
        """Begin anew: another event loop has another clock."""
        self._reading_at = -math.inf
        self._asking_at = -math.inf

    @property
    def slows_reading(self) -> bool:
        """Whether `read_at` can be later than now."""
        return self._s_per_byte > 0

    def request_at(self, now: float) -> float:
        """When the next request may go out; if that is *now*, it is entered. Ask again when the time has come."""
        at = max(now, self._asking_at)
        if at == now:
            self._asking_at = now + self._s_per_request
        return at

    def read_at(self, size_bytes: int, now: float) -> float:
        """When to go on reading after *size_bytes* came."""
        self._reading_at = max(now, self._reading_at) + size_bytes * self._s_per_byte
        return self._reading_at
