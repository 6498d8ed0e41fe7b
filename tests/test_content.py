"""Instances on their way in: assembled in memory within a budget, or spooled to a file."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrad69 import AsyncRad69, StorageError
from asyncrad69._content import Assembly, FileContent, MemoryBudget, MemoryContent, Share, Spool
from asyncrad69._limits import MIB
from asyncrad69._walk import ForgetfulView
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from asyncrad69._instance import Content

pytestmark = pytest.mark.anyio


async def assembled(data: bytes, spool: Spool | None, *, size: int = 1000) -> Content:
    """The content that *data* in pieces of *size* makes."""
    assembly = Assembly(MemoryBudget(None), spool)
    for start in range(0, len(data), size):
        await assembly.add(memoryview(data)[start : start + size])
    content, _ = await assembly.take()
    return content


@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, 54_321])
@pytest.mark.parametrize("threshold", [None, 0, 5000, 100_000])
async def test_any_way_it_is_the_same_bytes(length: int, threshold: int | None, tmp_path: Path) -> None:
    """In memory or in a file: data, chunks and view agree with what was put in, and the file is gone at the end."""
    data = os.urandom(length)
    spool = None if threshold is None else Spool(threshold=threshold, folder=tmp_path)
    content = await assembled(data, spool)
    assert content.size_bytes == length
    assert content.data == data
    assert b"".join(content.chunks(777)) == data
    with content.view() as view:
        assert view[:] == data
    assert len(list(tmp_path.iterdir())) == (1 if threshold is not None and length > threshold else 0)
    content.close()
    content.close()
    assert not list(tmp_path.iterdir())


async def test_what_was_let_go_can_be_read_again() -> None:
    """A view that has forgotten what the walk passed has it again when somebody looks back."""
    data = os.urandom(10 * MIB + 1)
    content = await assembled(data, Spool(threshold=0), size=MIB)
    with content.view() as view:
        assert isinstance(view, ForgetfulView)
        for position in (1, 5 * MIB + 1, 5 * MIB + 2, len(data)):
            view.passed(position)
        assert view[:] == data
    content.close()


def test_several_may_read_where_there_is_no_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none: whoever reads has a place of its own all the same, in this thread and in others."""
    monkeypatch.delattr(os, "pread", raising=False)
    data = os.urandom(100_000)
    content = FileContent(Spool(threshold=0, folder=tmp_path))
    content.write([data])
    in_turn = zip(*zip(content.chunks(1000), content.chunks(1000), strict=True), strict=True)
    assert [b"".join(each) for each in in_turn] == [data, data]
    with ThreadPoolExecutor(8) as threads:
        read = [threads.submit(lambda: b"".join(content.chunks(97))) for _ in range(8)]
        assert all(each.result() == data for each in read)
    content.close()


async def test_a_large_part_is_not_held_twice() -> None:
    """Beyond 64 MiB the pieces go into one growing buffer; the bytes are the same."""
    piece = os.urandom(MIB)
    content = await assembled(piece * 66, None, size=MIB)
    assert content.data == piece * 66


async def test_a_dropped_content_leaves_no_file(tmp_path: Path) -> None:
    """A file lives as long as its content, and an assembly that is given up takes its file along."""
    content = await assembled(b"x" * 100, Spool(threshold=10, folder=tmp_path))
    assert isinstance(content, FileContent)
    del content
    gc.collect()
    assembly = Assembly(MemoryBudget(None), Spool(threshold=10, folder=tmp_path))
    await assembly.add(b"x" * 100)
    assert list(tmp_path.iterdir())
    assembly.close()
    assert not list(tmp_path.iterdir())


async def test_a_file_in_the_systems_folder_has_no_name() -> None:
    """A process that is killed leaves nothing behind there."""
    content = await assembled(b"x" * 100, Spool(threshold=10))
    assert isinstance(content, FileContent)
    assert content.data == b"x" * 100
    assert sys.platform == "win32" or not Path(content.name).exists()
    content.close()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be made is a StorageError, which does not name the folder."""
    with pytest.raises(StorageError, match="a temporary file cannot be written: No such file") as caught:
        await assembled(b"x" * 100, Spool(threshold=10, folder=tmp_path / "gone"))
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.hint is not None
    assert "Free space" in caught.value.hint


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_its_parents_file_alone(tmp_path: Path) -> None:
    """It has the object, and the file's name is not its own."""
    content = FileContent(Spool(threshold=0, folder=tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if not child:
        content.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert Path(content.name).exists()
    content.close()
    assert not list(tmp_path.iterdir())


async def test_the_budget_makes_the_second_wait() -> None:
    """Together they may hold so much; one goes beyond it and comes; the other comes when room is given back."""
    budget = MemoryBudget(100)
    first, second = Assembly(budget, None), Assembly(budget, None)
    await first.add(b"x" * 80)
    await second.add(b"y" * 20)
    await first.add(b"x" * 500)
    came = anyio.Event()

    async def more() -> None:
        await second.add(b"y" * 20)
        came.set()

    async with anyio.create_task_group() as group:
        group.start_soon(more)
        await anyio.wait_all_tasks_blocked()
        assert not came.is_set()
        content, share = await first.take()
        assert isinstance(content, MemoryContent)
        await anyio.wait_all_tasks_blocked()
        assert not came.is_set()
        share.complete()
        # Complete, it waits for its caller, who may be waiting for the other one: that must come now.
        await anyio.wait_all_tasks_blocked()
        assert came.is_set()
    share.shrink()
    content, share = await second.take()
    assert content.data == b"y" * 40
    share.shrink()


async def test_what_is_taken_still_is_the_one_beyond() -> None:
    """Until it is written: else each that was complete would let another go beyond."""
    budget = MemoryBudget(100)
    first, second = Assembly(budget, None), Share(budget)
    await first.add(b"x" * 500)
    _, writing = await first.take()
    first.close()
    with anyio.move_on_after(0.01) as waited:
        await second.grow(500)
    assert waited.cancelled_caught
    writing.shrink()
    await second.grow(500)


async def test_a_cancelled_wait_takes_nothing() -> None:
    """Who gives up waiting has entered nothing in the budget."""
    budget = MemoryBudget(100)
    first, second = Share(budget), Share(budget)
    await first.grow(300)
    with anyio.move_on_after(0.01):
        await second.grow(50)
    first.shrink()
    third, fourth = Share(budget), Share(budget)
    await third.grow(50)
    await fourth.grow(50)


async def test_a_retrieve_inside_a_retrieve_within_a_tiny_budget() -> None:
    """A loop's body may ask for something itself, however little memory there is."""
    with SimulatedSource.demo(slices=2) as source:
        references = source.references()
        async with AsyncRad69(source.url, memory_budget_bytes=1, concurrency=2) as rad69:
            with anyio.fail_after(60):
                seen = 0
                async for _ in rad69.instances(references[:6]):
                    await rad69.get_dataset(references[-1])
                    seen += 1
    assert seen == 6


async def test_an_instance_as_a_stream(tmp_path: Path) -> None:
    """With ``spool_bytes`` set, chunks come from a file and give what was sent; datasets do too."""
    with SimulatedSource.demo(slices=2) as source:
        async with AsyncRad69(source.url) as rad69, rad69.retrieve(source.references(), spool_bytes=MIB // 4) as got:
            async for instance in got:
                sent = source.data(instance.reference.sop_instance_uid)
                assert b"".join(instance.chunks(65_536)) == sent == instance.data
                assert instance.size_bytes == len(sent)
                assert instance.dataset.SOPInstanceUID == instance.reference.sop_instance_uid
        assert got.report.complete
