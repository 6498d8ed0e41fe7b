"""
A bulk job against a source that fails often: planned, interrupted, killed, resumed, reported and verified.

400 instances, or 20,000 with RAD69_TEST_SCALE=full.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from asyncrad69.cli._app import app
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTANCES = 20_000 if os.environ.get("RAD69_TEST_SCALE") == "full" else 400
PER_SERIES = 20
#: Named in the plan, and not at the source.
UNKNOWN = INSTANCES // 100


class Unreliable:
    """An application of a source that is busy at times, and at others cuts its answer."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._chance = random.Random(69)
        self.faults: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chance = self._chance.random()
        if chance < 0.1:
            self.faults["busy"] += 1
            headers = [(b"retry-after", b"0")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body"})
        elif chance < 0.3:
            self.faults["cut"] += 1
            left = count(self._chance.randrange(1, 30), -1)

            async def cutting(message: Any) -> None:
                # A body that ends too early, as a proxy that gives up sends it.
                last = not next(left) and message["type"] == "http.response.body"
                await send({**message, "more_body": False} if last else message)
                if last:
                    raise ConnectionResetError

            try:
                await self._app(scope, receive, cutting)
            except ConnectionResetError:
                return
        else:
            await self._app(scope, receive, send)


def dataset(number: int) -> Dataset:
    """A small instance."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series = number // PER_SERIES
    made.SOPClassUID = CTImageStorage
    made.StudyInstanceUID = f"1.2.826.0.1.{series // 3}"
    made.SeriesInstanceUID = f"1.2.826.0.1.{series // 3}.{series}"
    made.SOPInstanceUID = f"1.2.826.0.1.{series // 3}.{series}.{number}"
    made.Rows, made.Columns, made.BitsAllocated = 32, 32, 8
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = number.to_bytes(4) * 256
    return made


@pytest.fixture
def source() -> Iterator[tuple[SimulatedSource, Unreliable]]:
    source = SimulatedSource(map(dataset, range(INSTANCES)))
    unreliable = Unreliable(source._app)
    source._app = unreliable  # type: ignore[assignment]
    with source:
        yield source, unreliable


def table(path: Path, source: SimulatedSource) -> Path:
    """Everything the source has, some that it does not have, and some that is none."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study uid", "series uid", "instance uid", "repository"])
        for each in source.references():
            uids = (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid)
            writer.writerow((*uids, each.repository_unique_id))
        for number in range(UNKNOWN):
            writer.writerow(("1.2.3", f"1.2.3.{number % 7}", f"1.2.3.{number % 7}.{number}", "1.2.3.4"))
        writer.writerow(("1.2.3", "1.2.3.4", "", ""))
        writer.writerow(("1.2.3", "1.2.3.4", "1.2.O", ""))
    return path


def rad69(*args: object, code: int) -> str:
    done = CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69")
    assert done.exit_code == code, done.output
    return done.stdout


def interrupted(*args: object, after: int, number: int) -> int:
    """The exit code of a command that gets a signal when it has begun so many requests."""
    arguments = [sys.executable, "-m", "asyncrad69", *map(str, args), "--log-format", "json"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        begun = count(1)
        for line in process.stderr:
            if "request started" in line and next(begun) == after:
                process.send_signal(number)
    return process.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals to another process, which are POSIX's")
@pytest.mark.timeout(1800)
def test_a_bulk_job_among_faults(source: tuple[SimulatedSource, Unreliable], tmp_path: Path) -> None:
    """Everything that the source has is there, byte for byte; what it does not have, and what is none, is listed."""
    simulated, unreliable = source
    job, images = tmp_path / "job.db", tmp_path / "images"
    planned = json.loads(rad69("plan", table(tmp_path / "table.csv", simulated), "-o", job, "--json", code=3))
    assert planned["instances"] == INSTANCES + UNKNOWN
    assert [each["line"] for each in planned["rejected"]] == [INSTANCES + UNKNOWN + 2, INSTANCES + UNKNOWN + 3]
    run = ("run", job, "--to", simulated.url, "-o", images, "--concurrency", 4)
    series = INSTANCES // PER_SERIES
    assert interrupted(*run, after=series // 5, number=signal.SIGINT) == 130
    assert 0 < json.loads(rad69("status", job, "--json", code=3))["done"] < INSTANCES
    assert interrupted(*run, after=series // 5, number=signal.SIGKILL) == -signal.SIGKILL
    between = json.loads(rad69("status", job, "--json", code=3))
    asked = len(simulated.requests)
    # What is missing after a run is asked for again by the next.
    for _ in range(5):
        status = json.loads(rad69(*run, "-q", "--json", code=3))
        if not status["missing"]:
            break
    assert (status["done"], status["refused"], status["missing"], status["pending"]) == (INSTANCES, UNKNOWN, 0, 0)
    repeated = Counter(uid for each in simulated.requests[asked:] for uid in each.sop_instance_uids)
    assert len(repeated) <= INSTANCES + UNKNOWN - between["done"]
    files = {path.stem: path for path in images.rglob("*.dcm")}
    assert len(files) == INSTANCES
    for reference in simulated.references():
        uid = reference.sop_instance_uid
        assert files[uid].read_bytes() == simulated.data(uid)
    assert not list(images.rglob("*.part"))
    rows = list(csv.DictReader(rad69("report", job, code=0).splitlines()))
    assert Counter(row["State"] for row in rows) == {"done": INSTANCES, "refused": UNKNOWN}
    assert {row["Code"] for row in rows} == {"", "XDSMissingDocument"}
    assert json.loads(rad69("verify", job, "--json", code=0))["good"] == INSTANCES
    assert min(unreliable.faults["busy"], unreliable.faults["cut"]) > 0
    print(  # noqa: T201 - the figures, with -s
        f"{INSTANCES:,} instances, {len(simulated.requests):,} requests, faults {dict(unreliable.faults)}, "
        f"done when it was killed {between['done']:,}, job {job.stat().st_size:,} bytes"
    )
