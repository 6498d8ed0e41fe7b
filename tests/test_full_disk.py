"""A disk that is full, a real one: one StorageError, no half file under a final name, and the next run goes on."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrad69 import AsyncRad69, StorageError
from asyncrad69.jobs import Job
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """5 MB."""
    with SimulatedSource.demo(slices=10) as running:
        yield running


def mount(folder: Path, options: str) -> bool:
    if shutil.which("mount") is None:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=2m"):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def written(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.rglob("*.dcm")}


def expected(source: SimulatedSource) -> dict[str, bytes]:
    return {each.sop_instance_uid: source.data(each.sop_instance_uid) for each in source.references()}


async def enlarge(disk: Path) -> None:
    assert await anyio.to_thread.run_sync(mount, disk, "remount,size=64m")


def all_whole(folder: Path, source: SimulatedSource) -> int:
    """How many files there are; each of them has what the source has."""
    wanted, found = expected(source), written(folder)
    assert all(wanted[name] == data for name, data in found.items())
    return len(found)


async def test_a_download_to_a_full_disk(source: SimulatedSource, disk: Path) -> None:
    """What has its name is whole and in the report; with more room, the same call completes."""
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(StorageError, match="cannot be written: No space left") as caught:
            await rad69.download(source.references(), disk / "images")
        count = all_whole(disk / "images", source)
        assert caught.value.report is not None
        assert len(caught.value.report.delivered) == count < len(source.references())
        del caught
        await enlarge(disk)
        assert (await rad69.download(source.references(), disk / "images")).complete
    assert written(disk / "images") == expected(source)
    assert not list(disk.rglob("*.part"))


async def test_a_job_whose_disk_is_full(source: SimulatedSource, disk: Path, tmp_path: Path) -> None:
    """Nothing is blamed on an instance: what is not written is pending, and the next run asks for that alone."""
    plan = partial(Job.plan, tmp_path / "job.db", references=source.references())
    with await anyio.to_thread.run_sync(plan) as job:
        async with AsyncRad69(source.url) as rad69:
            with pytest.raises(StorageError, match="cannot be written: No space left"):
                await job.run(rad69, disk / "images")
            status = await anyio.to_thread.run_sync(job.status)
            assert status.done == all_whole(disk / "images", source) < status.instances
            assert status.pending == status.instances - status.done
            await enlarge(disk)
            before = len(source.requests)
            assert (await job.run(rad69, disk / "images")).complete
        assert sum(len(each.sop_instance_uids) for each in source.requests[before:]) == status.pending
        assert not [each for each in await anyio.to_thread.run_sync(lambda: list(job.verify())) if each.flaw]
    assert written(disk / "images") == expected(source)
    assert not list(disk.rglob("*.part"))


async def test_a_job_that_does_not_fit_on_the_disk(source: SimulatedSource, disk: Path) -> None:
    """A plan that cannot be written is no job, and leaves nothing."""
    (disk / "filler").write_bytes(bytes(2 * 1024 * 1024 - 64 * 1024))
    plan = partial(Job.plan, disk / "job.db", references=source.references())
    with pytest.raises(StorageError, match=r"cannot be used: (database or disk is full|disk I/O error)"):
        await anyio.to_thread.run_sync(plan)
    assert [path.name for path in disk.iterdir()] == ["filler"]
