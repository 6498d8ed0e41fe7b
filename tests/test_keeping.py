"""Instances are written while others come: together where they are small, and each in exactly one hand at the end."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from anyio import Event, create_task_group
from anyio.lowlevel import checkpoint

from asyncrad69._content import Assembly, MemoryBudget
from asyncrad69._errors import ConnectionLost, StorageError
from asyncrad69._instance import Instance
from asyncrad69._keeping import Keeping
from asyncrad69._references import InstanceReference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrad69._content import Share
    from asyncrad69._keeping import Take

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


class Disk:
    """Writes when it is told to."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.turns: list[list[str]] = []
        self.dropped: list[str] = []
        self.free = Event()
        self.error = error
        self.budget = MemoryBudget(None)
        self.assembly = Assembly(self.budget, None)

    async def keep(self, instances: Sequence[Instance]) -> None:
        self.turns.append(uids(instances))
        await self.free.wait()
        if self.error is not None:
            raise self.error

    def drop(self, instance: Instance) -> None:
        self.dropped += uids([instance])

    def keeping(self) -> Keeping:
        return Keeping(self.keep, self.drop)

    async def instance(self, number: int, size: int = 10) -> tuple[Instance, Share]:
        await self.assembly.add(bytes(size))
        content, share = await self.assembly.take()
        reference = InstanceReference("1.2", "1.2.3", f"1.2.3.{number}")
        return Instance(reference=reference, content=content, transfer_syntax_uid="1.2.840.10008.1.2"), share

    @property
    def memory_is_free(self) -> bool:
        return self.budget._held == 0


def uids(instances: Sequence[Instance]) -> list[str]:
    return [each.reference.sop_instance_uid.rpartition(".")[2] for each in instances]


async def settle() -> None:
    for _ in range(5):
        await checkpoint()


async def test_small_ones_that_come_meanwhile_are_written_together() -> None:
    disk = Disk()

    async def bring(take: Take) -> None:
        await take(*await disk.instance(0))
        await settle()
        for number in (1, 2, 3):
            await take(*await disk.instance(number))
        disk.free.set()

    await disk.keeping().during(bring)
    assert disk.turns == [["0"], ["1", "2", "3"]]
    assert disk.dropped == []


@pytest.mark.parametrize(("size", "most"), [(3 * MIB, 2), (10, 64)])
async def test_no_more_than_so_much_waits(size: int, most: int) -> None:
    disk = Disk()
    taken = 0

    async def bring(take: Take) -> None:
        nonlocal taken
        for number in range(100):
            await take(*await disk.instance(number, size))
            taken += 1
            if not number:
                await settle()

    async with create_task_group() as group:
        group.start_soon(disk.keeping().during, bring)
        for _ in range(30):
            await settle()
        assert taken == most  # one is being written; the last is in, and whoever brought it waits for room
        disk.free.set()
    assert [uid for turn in disk.turns for uid in turn] == [str(number) for number in range(100)]
    assert disk.memory_is_free


async def test_what_had_come_before_an_error_is_written() -> None:
    disk = Disk()

    async def bring(take: Take) -> None:
        await take(*await disk.instance(0))
        await take(*await disk.instance(1))
        disk.free.set()
        raise ConnectionLost("cut")

    with pytest.raises(ConnectionLost, match="cut"):
        await disk.keeping().during(bring)
    assert disk.turns == [["0", "1"]]
    assert disk.dropped == []
    assert disk.memory_is_free


async def test_an_error_of_the_disk_ends_the_exchange() -> None:
    disk = Disk(error=StorageError("full"))
    disk.free.set()
    ended = False

    async def bring(take: Take) -> None:
        nonlocal ended
        try:
            await take(*await disk.instance(0))
            await Event().wait()
        finally:
            ended = True

    with pytest.raises(StorageError, match="full") as caught:
        await disk.keeping().during(bring)
    assert ended
    assert caught.value.__context__ is None
    assert disk.turns == [["0"]]
    assert disk.memory_is_free


async def test_a_full_disk_counts_more_than_a_cut_that_came_before_it() -> None:
    disk = Disk(error=StorageError("full"))

    async def bring(take: Take) -> None:
        await take(*await disk.instance(0))
        await settle()
        disk.free.set()
        raise ConnectionLost("cut")

    with pytest.raises(StorageError, match="full"):
        await disk.keeping().during(bring)


async def test_what_waits_when_the_retrieve_is_cancelled_is_nobodys() -> None:
    disk = Disk()

    async def bring(take: Take) -> None:
        await take(*await disk.instance(0))
        await settle()
        for number in (1, 2):
            await take(*await disk.instance(number))
        await Event().wait()

    async with create_task_group() as group:
        group.start_soon(functools.partial(disk.keeping().during, bring))
        for _ in range(5):
            await settle()
        group.cancel_scope.cancel()
    assert disk.turns == [["0"]]  # whoever writes says himself what is not written
    assert disk.dropped == ["1", "2"]
    assert disk.memory_is_free
