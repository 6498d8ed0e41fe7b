"""How much memory a client takes, in a process of its own: the bounds that the documentation names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit

from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc"
)

FULL = os.environ.get("RAD69_TEST_SCALE") == "full"
FRAMES = 4000 if FULL else 572  # of 512 KiB
FRAGMENTS = 80_000 if FULL else 6_400  # of 25 kB: a header on every sixth page
SLICES = 160  # of 512 KiB
SLICE_BYTES = 2 * 512 * 512
MIB = 1 << 20

# The peak counts from after a first small instance, so that modules and dictionaries are loaded. It is not ru_maxrss:
# over fork and exec that begins with the peak of the parent, which is the whole test suite.
CLIENT = """
    import asyncio, hashlib, json, sys
    from pathlib import Path
    from asyncrad69 import AsyncRad69

    async def stream(rad69, references, folder):
        digest = hashlib.sha256()
        async for instance in rad69.instances(references, spool_bytes=4 << 20):
            for chunk in instance.chunks():
                digest.update(chunk)
        return digest.hexdigest()

    async def download(rad69, references, folder):
        await rad69.download(references, folder)
        (path,) = Path(folder).rglob("*.dcm")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    async def slow(rad69, references, folder):
        count = 0
        async for _ in rad69.instances(references, concurrency=8, instances_per_request=8):
            count += 1
            await asyncio.sleep(0.005)
        return count

    async def dropped(rad69, references, folder):
        count = 0
        async for dataset in rad69.datasets(references, concurrency=1):
            count += len(dataset.PixelData)
        return count

    async def kept(rad69, references, folder):
        return sum([len(dataset.PixelData) for dataset in [each async for each in rad69.datasets(references)]])

    def resident(name):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    async def main(what, url, folder):
        warm_up, *references = map(tuple, json.load(sys.stdin))
        async with AsyncRad69(url, repository_unique_id="1.2.3.4") as rad69:
            await rad69.get_dataset(warm_up)
            Path("/proc/self/clear_refs").write_text("5", "ascii")
            base = resident("VmRSS")
            result = await globals()[what](rad69, references, folder)
            print(json.dumps([result, resident("VmHWM") - base]))

    asyncio.run(main(*sys.argv[1:]))
"""


def write(path: Path, *, fragments: int = 0, frames: int = 1, rows: int = 512) -> Path:
    """A CT image whose UIDs say which file it is: JPEG with *fragments*, else native pixels that take no disk."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if fragments else ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = reference(path)
    dataset.Rows = dataset.Columns = rows
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.NumberOfFrames = fragments or frames
    dataset.save_as(path, enforce_file_format=True)
    with path.open("ab") as file:
        if fragments:
            file.write(pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + pack("<HHL", 0xFFFE, 0xE000, 0))
            file.writelines([pack("<HHL", 0xFFFE, 0xE000, 25_000) + bytes(25_000)] * fragments)
            file.write(pack("<HHL", 0xFFFE, 0xE0DD, 0))
        else:
            size = 2 * rows * rows * frames
            file.write(pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size))
            file.truncate(file.tell() + size)
    return path


def reference(path: Path) -> tuple[str, str, str]:
    """Study, series and SOP Instance UID of a file: all of one name, but for a number, are a series."""
    name, _, number = path.stem.partition("-")
    series = f"1.2.3.{int.from_bytes(name.encode(), 'big')}"
    return "1.2.3", series, f"{series}.{number or 1}"


# pytest keeps the folders of three runs, which would be gigabytes.
@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One large native instance, a large one of many fragments, a series of slices, and a tiny one."""
    folder = tmp_path_factory.mktemp("instances")
    write(folder / "tiny.dcm", rows=8)
    write(folder / "native.dcm", frames=FRAMES)
    write(folder / "jpeg.dcm", fragments=FRAGMENTS)
    for number in range(SLICES):
        write(folder / f"ct-{number + 1}.dcm")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For what is downloaded."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def url(files: Path) -> Iterator[str]:
    """A source that has them."""
    with SimulatedSource(files) as source:
        yield source.url


def peak(what: str, url: str, folder: Path, wanted: list[Path]) -> tuple[object, int]:
    """The result of a function of CLIENT, and by how many bytes resident memory rose above what it was before."""
    command = (sys.executable, "-c", textwrap.dedent(CLIENT), what, url, str(folder))
    given = json.dumps([reference(each) for each in (Path("tiny.dcm"), *wanted)])
    result, growth = json.loads(subprocess.check_output(command, input=given, text=True))
    return result, growth


@pytest.mark.parametrize("name", ["native.dcm", "jpeg.dcm"])
@pytest.mark.parametrize("what", ["stream", "download"])
def test_an_instance_larger_than_memory_passes_through_little(
    what: str, name: str, files: Path, url: str, folder: Path
) -> None:
    """An instance of hundreds of MB (2 GB at full scale), as a stream or to a file, costs less than 64 MiB."""
    with (files / name).open("rb") as file:
        sent = hashlib.file_digest(file, "sha256").hexdigest()
    received, growth = peak(what, url, folder, [files / name])
    assert received == sent
    assert growth < 64 * MIB


def test_a_large_file_that_is_there_is_looked_at_in_little(files: Path, url: str, folder: Path) -> None:
    """One that no journal knows is walked through, which costs as little."""
    study, series, instance = reference(files / "jpeg.dcm")
    (folder / study / series).mkdir(parents=True)
    (folder / study / series / f"{instance}.dcm").hardlink_to(files / "jpeg.dcm")
    _, growth = peak("download", url, folder, [files / "jpeg.dcm"])
    assert growth < 64 * MIB


def test_a_slow_consumer_holds_the_source_back(files: Path, url: str, folder: Path) -> None:
    """At 8 requests at once less than 30 MiB wait."""
    count, growth = peak("slow", url, folder, sorted(files.glob("ct-*")))
    assert count == SLICES
    assert growth < 30 * MIB


def test_datasets_that_are_dropped_cost_nothing(files: Path, url: str, folder: Path) -> None:
    """One request at a time, with any number of slices, takes less than 8 MiB."""
    pixels, growth = peak("dropped", url, folder, sorted(files.glob("ct-*")))
    assert pixels == SLICES * SLICE_BYTES
    assert growth < 8 * MIB


def test_datasets_that_are_kept_are_held_once(files: Path, url: str, folder: Path) -> None:
    """They take what they are, and a tenth: not the file beside the values that were copied out of it."""
    pixels, growth = peak("kept", url, folder, sorted(files.glob("ct-*")))
    assert pixels == SLICES * SLICE_BYTES
    assert growth < 1.1 * SLICES * SLICE_BYTES + 8 * MIB
