"""What happens during a retrieve, for whoever watches: progress bars, metrics, audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ._errors import Rad69Error
    from ._references import InstanceReference
    from ._report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStarted:
    """A request goes out for *references*; *message_id* is its WS-Addressing MessageID."""

    references: tuple[InstanceReference, ...]
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesReceived:
    """*size_bytes* of a reply's body came."""

    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePresent:
    """An instance of a download is in its file already, and is not asked for; *size_bytes* is the file's."""

    reference: InstanceReference
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceVerified:
    """An instance came, is whole, is the one asked for, and goes to the caller now."""

    reference: InstanceReference
    size_bytes: int
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFailed:
    """An instance is given up; *error* is ``None`` where the source said nothing about it."""

    reference: InstanceReference
    error: Rad69Error | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished:
    """
    An exchange is over; not one that was in flight when the retrieve was left.

    *status* is the manifest's, *error* what ended it early; one of them is ``None``.
    """

    references: tuple[InstanceReference, ...]
    message_id: str
    status: str | None
    error: Rad69Error | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled:
    """*references* will be asked for again, not before *wait_s* seconds have passed."""

    references: tuple[InstanceReference, ...]
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFinished:
    """Every asked instance of a series has come or is given up: so many *delivered*, so many *failed*."""

    study_instance_uid: str
    series_instance_uid: str
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveFinished:
    """The retrieve is over, complete or not, or was left early; *report* is its last word."""

    report: Report


Event: TypeAlias = (
    RequestStarted
    | BytesReceived
    | InstancePresent
    | InstanceVerified
    | InstanceFailed
    | RequestFinished
    | RetryScheduled
    | SeriesFinished
    | RetrieveFinished
)

#: Called on the event loop with every event, in order: it must return at once. What it raises ends the retrieve, and is
#: raised by its iterator as it is.
OnEvent: TypeAlias = Callable[[Event], None]


class Watcher:
    """
    Tells the caller's function. What it raises first is kept: it ends the retrieve, whose iterator raises it.

    Args:
        on_event: The function; ``None`` for nobody.

    Attributes:
        end: Ends the retrieve; until there is one to end, what the function raises is raised.
        error: What the function raised.
    """

    def __init__(self, on_event: OnEvent | None) -> None:
        self.end: Callable[[], object] | None = None
        self.error: Exception | None = None
        self._on_event = on_event

    def tell(self, event: Event) -> None:
        """*event* has happened."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as exc:
            if self.end is None:
                raise
            self.error = self.error or exc
            self.end()
