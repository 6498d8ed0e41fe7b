"""A retrieve once it was started: its endpoints, its queue of requests, and how its instances are handed over."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from anyio import CancelScope, CapacityLimiter, Event as Signal, create_memory_object_stream, current_time

from ._handover import Handover

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._endpoint import Endpoint
    from ._exchange import Manner
    from ._instance import Instance
    from ._ledger import Patience
    from ._plan import Request
    from ._references import InstanceReference


@dataclass(slots=True, kw_only=True)
class Place:
    """
    One endpoint in a retrieve.

    Attributes:
        endpoint: It.
        references: What is asked of it, all in all.
        manner: How it wants to be asked, as far as is known.
        patience: How long to go on with it.
    """

    endpoint: Endpoint
    references: tuple[InstanceReference, ...]
    manner: Manner
    patience: Patience


@dataclass(frozen=True, slots=True)
class Job:
    """A request, where it goes, and the earliest time for it, by the event loop's clock."""

    request: Request
    place: Place
    not_before: float = -math.inf

    @property
    def opens_at(self) -> float:
        """When it may go out, as far as can be said now."""
        return max(self.not_before, self.place.endpoint.gate.opens_at)


class Running:
    """
    What a retrieve has once it was started: its scope, its queue, and the turns its workers take.

    Args:
        allowed: How many may take a turn at once.
        untaken: Called with each instance that was to be handed over and that nobody took.
    """

    def __init__(self, *, allowed: int, untaken: Callable[[Instance], None]) -> None:
        self.scope = CancelScope()
        self.finished = Signal()
        self.stopping = Signal()
        # An instance waits in the worker that brought it, which reads no further until it is taken.
        self.instances = Handover(untaken)
        # A ticket for each job, so that workers can wait for one, and learn that none will come.
        self.tickets_in, self.tickets_out = create_memory_object_stream[None](math.inf)
        self.jobs: deque[Job] = deque()
        self.turns = CapacityLimiter(allowed)
        self.places = 1

    def next_job(self, now: float) -> Job:
        """The first job whose time has come, else the one whose time comes first."""
        job = next((each for each in self.jobs if each.opens_at <= now), None)
        job = job or min(self.jobs, key=attrgetter("opens_at"))
        self.jobs.remove(job)
        return job

    async def pause_until(self, time: float) -> None:
        """Wait for a moment of the event loop's clock, or for the word that nothing more will be asked."""
        if time <= current_time():
            return
        with CancelScope(deadline=time):
            await self.stopping.wait()

    def close(self) -> None:
        """The workers are done, or were ended: whoever waits for an instance learns it."""
        self.finished.set()
        self.tickets_in.close()
        self.tickets_out.close()
        self.instances.close()
