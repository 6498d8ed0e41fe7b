"""When a run may ask, and when it ends early: the rules an operator gives it. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Window:
    """
    A time of day in which requests may go out, local time, every day. *end* before *start* is the next day's.

    Attributes:
        start: From then on.
        end: Until then. What is in flight at that moment is finished.
    """

    start: time
    end: time

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("a window begins and ends at different times")

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        The window in ``"19:00-07:00"``.

        Raises:
            ValueError: It is none.
        """
        found = _WINDOW.fullmatch(text.strip())
        try:
            start, end = (time.fromisoformat(each) for each in found.groups()) if found else (None, None)
        except ValueError:
            start = end = None
        if start is None or end is None:
            raise ValueError(f"{text!r} is not a window: HH:MM-HH:MM, e.g. 19:00-07:00")
        return cls(start, end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def has(self, now: datetime) -> bool:
        """Whether *now* is in it."""
        clock = now.time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def opens(self, now: datetime) -> datetime:
        """When it opens next, after *now*."""
        today = now.replace(hour=self.start.hour, minute=self.start.minute, second=0, microsecond=0)
        return today if today > now else today + timedelta(days=1)


_WINDOW: Final = re.compile(r"(\d\d:\d\d)\s*-\s*(\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    The rules of a run.

    Args:
        window: When requests may go out; ``None`` for always. Outside of it the run waits.
        min_free_bytes: While the target's disk has less, the run waits, and looks again every minute.
        stop_after_failures: After so many refused or missing instances the run asks for nothing more and ends.
        max_away_s: How long the source may be busy or out of reach, in seconds, before the run ends with its error. One
            that never answered ends it at once.
        ask_refused: Whether to ask again for what the source refused in an earlier run.
    """

    window: Window | None = None
    min_free_bytes: int = 0
    stop_after_failures: int | None = None
    max_away_s: float = 3600.0
    ask_refused: bool = False

    def __post_init__(self) -> None:
        if self.min_free_bytes < 0:
            raise ValueError(f"min_free_bytes is 0 or more, not {self.min_free_bytes}")
        if self.stop_after_failures is not None and self.stop_after_failures < 1:
            raise ValueError(f"stop_after_failures is at least 1, or None; not {self.stop_after_failures}")
        if self.max_away_s < 0:
            raise ValueError(f"max_away_s is 0 or more, not {self.max_away_s}")
