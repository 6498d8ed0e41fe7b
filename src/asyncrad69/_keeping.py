"""What one exchange brings is written to files while it goes on: two cores are better than one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from anyio import Semaphore, create_task_group

from ._errors import without_frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._content import Assembly, Share
    from ._instance import Instance

#: Does something with an instance: hands it over, or writes it to a file.
Take: TypeAlias = "Callable[[Instance], Awaitable[None]]"

# One is written and another waits its turn, while a third comes.
_AT_ONCE: Final = 2


async def keeping(
    assembly: Assembly, keep: Take, drop: Callable[[Instance], None], bring: Callable[[Take], Awaitable[None]]
) -> None:
    """
    Await *bring*, which hands each instance to the function that it is given, and *keep* those meanwhile.

    Returns when all are kept; what had come before an error is kept too. An instance counts in the memory budget until
    it is kept.

    Args:
        assembly: Where the instance at hand was put together.
        keep: Keeps one.
        drop: Told of one that *keep* is never called with, since *bring* was ended.
        bring: Brings all of them.

    Raises:
        Exception: The first error of *bring* or of *keep*, which ends *bring*.
    """
    errors: list[Exception] = []
    places = Semaphore(_AT_ONCE, fast_acquire=True)

    async def keep_one(instance: Instance, share: Share) -> None:
        try:
            await keep(instance)
        except Exception as exc:  # noqa: BLE001 - raised below
            errors.append(without_frames(exc))
            group.cancel_scope.cancel()
        finally:
            share.shrink()
            places.release()

    async def take(instance: Instance) -> None:
        try:
            await places.acquire()
        except BaseException:
            drop(instance)
            raise
        group.start_soon(keep_one, instance, assembly.hand_on(), name="asyncrad69 keeping")

    async with create_task_group() as group:
        try:
            await bring(take)
        except Exception as exc:  # noqa: BLE001 - raised below, when what had come is kept
            errors.append(exc)
    if errors:
        raise errors.pop(0)
