"""What one exchange brings is written to files while it goes on: two cores are better than one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from anyio import Event, create_task_group

from ._errors import Rad69Error, without_frames
from ._limits import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from ._content import Share
    from ._instance import Instance

#: Takes over an instance, and what it holds of the memory budget.
Take: TypeAlias = "Callable[[Instance, Share], Awaitable[None]]"

#: Writes instances to files.
Keep: TypeAlias = "Callable[[Sequence[Instance]], Awaitable[None]]"

# What may wait to be written: as much as is written at once, small ones together, since each turn in another thread
# costs more than a small file does.
_MOST_BYTES: Final = 4 * MIB
_MOST: Final = 64


class Keeping:
    """
    One exchange's instances on their way to files.

    An instance counts in the memory budget until it is written.

    Args:
        keep: Writes some.
        drop: Told of one that *keep* is never called with, since the exchange was ended.
    """

    def __init__(self, keep: Keep, drop: Callable[[Instance], None]) -> None:
        self._keep = keep
        self._drop = drop
        self._waiting: list[tuple[Instance, Share]] = []
        self._size = 0
        self._writing = False
        self._room = Event()
        self._errors: list[Exception] = []

    async def during(self, bring: Callable[[Take], Awaitable[None]]) -> None:
        """
        Await *bring*, which hands instances to the function that it is given, and write them meanwhile.

        Returns when all are written; what had come before an error is written too.

        Raises:
            Exception: An error of *bring* or of *keep*, which ends *bring*: one that is fatal, else the first.
        """

        async def take(instance: Instance, share: Share) -> None:
            await self._take(group, instance, share)

        try:
            async with create_task_group() as group:
                try:
                    await bring(take)
                except Exception as exc:  # noqa: BLE001 - raised below, when what had come is written
                    self._errors.append(exc)
        finally:
            for instance, share in self._waiting:
                share.shrink()
                self._drop(instance)
        if self._errors:
            raise self._worst()

    def _worst(self) -> Exception:
        """What ends everything, else what came first."""
        errors, self._errors = self._errors, []
        return next((each for each in errors if not isinstance(each, Rad69Error) or each.fatal), errors[0])

    async def _take(self, group: TaskGroup, instance: Instance, share: Share) -> None:
        self._waiting.append((instance, share))
        self._size += instance.size_bytes
        if not self._writing:
            self._writing = True
            group.start_soon(self._write, group, name="asyncrad69 keeping")
        while self._size >= _MOST_BYTES or len(self._waiting) >= _MOST:
            await self._room.wait()

    async def _write(self, group: TaskGroup) -> None:
        try:
            while self._waiting:
                await self._write_some()
        except Exception as exc:  # noqa: BLE001 - raised by `during`
            self._errors.append(without_frames(exc))
            group.cancel_scope.cancel()
        finally:
            self._writing = False

    async def _write_some(self) -> None:
        some, self._waiting, self._size = self._waiting, [], 0
        self._room.set()
        self._room = Event()
        try:
            await self._keep([instance for instance, _ in some])
        finally:
            for _, share in some:
                share.shrink()
