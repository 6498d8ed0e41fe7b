"""What a retrieve looks like while it runs: a bar on a terminal, a line a minute elsewhere, or a log."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asyncrad69 import (
    BytesReceived,
    Event,
    InstanceFailed,
    InstancePresent,
    InstanceReference,
    InstanceVerified,
    RequestFinished,
    RequestStarted,
    RetrieveFinished,
    RetryScheduled,
)

from ._failures import without_uids

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console

    from asyncrad69 import Report

# A rate over less jumps about; over more it does not show that a source has stopped.
_RATE_OVER_S: Final = 5.0
_LINE_EVERY_S: Final = 60.0
_REDRAWS_PER_S: Final = 5


class Tally:
    """
    What has happened so far.

    Args:
        instances: How many are asked for.
        size_bytes: Their size, where it is known beforehand.
        clock: Seconds, growing.
    """

    def __init__(
        self, instances: int, size_bytes: int | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self.instances = instances
        self.size_bytes = size_bytes
        self.delivered = 0
        self.failed = 0
        self.retries = 0
        self.received_bytes = 0
        self.delivered_bytes = 0
        self._present = 0
        self._present_bytes = 0
        self.asked = False
        self.report: Report | None = None
        self._clock = clock
        self._started_at = clock()
        self._samples = deque([(self._started_at, 0)])

    def note(self, event: Event) -> None:
        """Count an event."""
        match event:
            case BytesReceived():
                self.received_bytes += event.size_bytes
            case InstancePresent():
                self._note_present(event.size_bytes)
            case InstanceVerified():
                self.delivered += 1
                self.delivered_bytes += event.size_bytes
            case InstanceFailed():
                self.failed += 1
            case RetryScheduled():
                self.retries += 1
            case RequestStarted():
                self.asked = True
            case RetrieveFinished():
                self._finish(event.report)

    def _note_present(self, size_bytes: int) -> None:
        self._present += 1
        self._present_bytes += size_bytes
        self.delivered += 1
        self.delivered_bytes += size_bytes

    def _finish(self, report: Report) -> None:
        """What the report calls missing may only be interrupted."""
        self.report = report
        self.delivered = len(report.delivered)

    @property
    def settled(self) -> int:
        """How many instances have come or are given up."""
        return self.delivered + self.failed

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._started_at

    def rate(self) -> float:
        """Bytes per second, of late; call it now and then."""
        now = self._clock()
        self._samples.append((now, self.received_bytes))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_OVER_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return (self.received_bytes - before) / (now - then) if now > then else 0.0

    def maybe_seconds_left(self) -> float | None:
        """By what has come so far; ``None`` before anything has."""
        share = self._share()
        return self.seconds * (1 - share) / share if share else None

    def _share(self) -> float:
        """Of what was not there at the start: that took no time, and says nothing of how long the rest takes."""
        if self.size_bytes and not self.failed:
            done, asked = self.delivered_bytes - self._present_bytes, self.size_bytes - self._present_bytes
        else:
            done, asked = self.settled - self._present, self.instances - self._present
        return min(1.0, done / asked) if asked > 0 else 1.0


class Silent:
    """Counts, and shows nothing."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def note(self, event: Event) -> None:
        self._tally.note(event)

    def say(self, text: str) -> None:
        """A line for people, meanwhile."""


class Bar(Silent):
    """One line on a terminal, redrawn in place a few times a second, whatever the number of events."""

    def __init__(self, tally: Tally, console: Console) -> None:
        super().__init__(tally)
        self._live = Live(
            console=console,
            get_renderable=lambda: bar(tally, console.width),
            refresh_per_second=_REDRAWS_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        # Above the bar, which a line of anybody else would tear.
        self._live.console.print(text, markup=False, highlight=False)


def bar(tally: Tally, width: int) -> Table:
    """The bar and its figures, of which a narrow terminal gets fewer. No figure moves another."""
    total = str(tally.instances)
    cells = [
        (f"{tally.delivered:>{len(total)}}/{total} instances", "default", 0),
        (f"{size(tally.delivered_bytes):>8}", "default", 72),
        (f"{size(tally.rate()):>8}/s", "cyan", 60),
        (_time_cell(tally), "default", 88),
        (f"{tally.failed} failed", "bold red" if tally.failed else "dim", 48),
        (f"{tally.retries} retried" if tally.retries else "", "yellow", 110),
    ]
    shown = [Text(text, style=style) for text, style, least in cells if text and width >= least]
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(ratio=1, min_width=8)
    for _ in shown:
        line.add_column(no_wrap=True, justify="right")
    line.add_row(_track(tally), *shown)
    return line


def _track(tally: Tally) -> ProgressBar:
    colour = "red" if tally.failed else "green" if tally.report else "cyan"
    return ProgressBar(
        total=max(tally.instances, 1),
        completed=tally.settled if tally.instances else 1,
        style="grey30",
        complete_style=colour,
        finished_style=colour,
    )


def _time_cell(tally: Tally) -> str:
    if tally.report is not None:
        return f"{duration(tally.seconds):>6} in all"
    left = tally.maybe_seconds_left()
    return f"{duration(left) if left is not None else '-:--':>6} left  "


class Lines(Silent):
    """A line now and then, for a file or a pipe; from a thread, as a source that thinks gives no event to write at."""

    def __init__(self, tally: Tally, write: Callable[[str], object], *, every_s: float = _LINE_EVERY_S) -> None:
        super().__init__(tally)
        self._write = write
        self._every_s = every_s
        self._resting = False  # until an event comes: a job may wait for the night, and has said so
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="rad69 progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._over.wait(self._every_s):
            if not self._resting:
                self._write(progress_line(self._tally))

    def note(self, event: Event) -> None:
        super().note(event)
        self._resting = False

    def say(self, text: str) -> None:
        self._write(text)
        self._resting = True


def progress_line(tally: Tally) -> str:
    """What the bar says, as a line."""
    left = tally.maybe_seconds_left()
    parts = [
        f"{tally.delivered}/{tally.instances} instances",
        size(tally.delivered_bytes),
        f"{size(tally.rate())}/s",
        f"{duration(left)} left" if left is not None else "",
        f"{tally.failed} failed",
        f"{tally.retries} retried" if tally.retries else "",
    ]
    return ", ".join(part for part in parts if part)


class Log(Silent):
    """
    A record for each request, retry and failure: text, or a JSON object a line.

    Args:
        tally: What is counted.
        write: Takes a line.
        as_json: Which of the two.
        identifiers: Whether UIDs may be in it.
        errors_only: Whether to leave out everything else.
    """

    def __init__(
        self, tally: Tally, write: Callable[[str], object], *, as_json: bool, identifiers: bool, errors_only: bool
    ) -> None:
        super().__init__(tally)
        self._write = write
        self._as_json = as_json
        self._identifiers = identifiers
        self._errors_only = errors_only

    def note(self, event: Event) -> None:
        super().note(event)
        if (facts := self._facts(event)) is not None:
            self.record(facts.pop("level", "info"), facts.pop("event"), **facts)

    def say(self, text: str) -> None:
        self.record("info", text)

    def record(self, level: str, event: str, **facts: Any) -> None:
        """Write one record, if it is one of those that are wanted."""
        if self._errors_only and level != "error":
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._as_json:
            self._write(json.dumps({"time": moment, "level": level, "event": event, **facts}))
        else:
            pairs = " ".join(f"{name}={_plain(value)}" for name, value in facts.items())
            self._write(f"{moment} {level.upper():7} {event} {pairs}".rstrip())

    def _facts(self, event: Event) -> dict[str, Any] | None:
        match event:
            case RequestStarted():
                return {"event": "request started", **self._of(event.references)}
            case RequestFinished(error=None):
                return {"event": "request finished", "status": _status(event.status), **self._of(event.references)}
            case RequestFinished():
                return {"level": "warning", "event": "request failed", **self._why(event), **self._of(event.references)}
            case RetryScheduled():
                wait_s = round(event.wait_s, 3)
                return {"level": "warning", "event": "retry", "wait_s": wait_s, **self._of(event.references)}
            case InstanceFailed():
                return {"level": "error", "event": "instance lost", **self._why(event), **self._of((event.reference,))}
            case RetrieveFinished():
                return {"event": "retrieve finished", **_sums(event.report)}
        return None

    def _of(self, references: tuple[InstanceReference, ...]) -> dict[str, Any]:
        facts: dict[str, Any] = {"instances": len(references)}
        if self._identifiers:
            facts["sop_instance_uids"] = [reference.sop_instance_uid for reference in references]
        return facts

    def _why(self, event: RequestFinished | InstanceFailed) -> dict[str, Any]:
        if event.error is None:
            return {"error": None}
        message = event.error.message
        return {
            "error": type(event.error).__name__,
            "message": message if self._identifiers else without_uids(message),
        }


def _sums(report: Report) -> dict[str, Any]:
    return {
        "delivered": len(report.delivered),
        "refused": len(report.refused),
        "missing": len(report.missing),
        "bytes": report.delivered_bytes,
    }


def _status(status: str | None) -> str | None:
    return status.rpartition(":")[2] if status else None


def _plain(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text else text


def stderr_line(text: str) -> None:
    """Write a line to stderr, which is where everything goes that is not the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def size(size_bytes: float) -> str:
    """In the largest unit that leaves a number of one to three digits before the point; powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def duration(seconds: float) -> str:
    """As ``m:ss``, ``h:mm:ss`` or ``2 d 4 h``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
