"""What a client lends to its retrieves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from ._content import MemoryBudget
    from ._endpoint import Endpoint
    from ._throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """
    Attributes:
        tasks: The task group that workers live in; raises `RuntimeError` where the client is not open.
        endpoint: Where requests for a repository go, by its unique id.
        memory: What instances in flight may hold together.
        throttle: What keeps the client slower than it could be.
    """

    tasks: Callable[[], TaskGroup]
    endpoint: Callable[[str | None], Endpoint]
    memory: MemoryBudget
    throttle: Throttle
