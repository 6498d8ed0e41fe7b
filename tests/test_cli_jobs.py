"""The commands about jobs: plan, run, status, report, verify, merge; what they say where, and how they exit."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from asyncrad69.cli._app import app
from asyncrad69.cli._values import rate_of, size_of
from asyncrad69.jobs import Job
from asyncrad69.testing import SimulatedSource, write_kos
from source import Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69 import InstanceReference

REPOSITORY = "1.2.3.4"
SCALE = os.environ.get("RAD69_TEST_SCALE", "")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals to another process, which are POSIX's")


def rad69(*args: object, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69", **kwargs)


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "asyncrad69", *map(str, args)]


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=4) as running:
        yield running


def uids(reference: InstanceReference) -> str:
    return f"{reference.study_instance_uid},{reference.series_instance_uid},{reference.sop_instance_uid}"


def write_table(path: Path, source: SimulatedSource, *more: str) -> Path:
    rows = map(uids, source.references())
    path.write_text("\n".join(["study uid,series uid,instance uid", *rows, *more]) + "\n")
    return path


@pytest.fixture
def job(source: SimulatedSource, tmp_path: Path) -> Path:
    """Planned: everything the source has."""
    path = tmp_path / "job.db"
    result = rad69("plan", write_table(tmp_path / "table.csv", source), "-o", path)
    assert result.exit_code == 0, result.output
    return path


def run(job: Path, source: SimulatedSource, *args: object) -> Result:
    return rad69("run", job, "--to", source.url, "--repository", REPOSITORY, "-o", job.parent / "images", *args)


def written(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.rglob("*.dcm")}


def expected(source: SimulatedSource) -> dict[str, bytes]:
    return {each.sop_instance_uid: source.data(each.sop_instance_uid) for each in source.references()}


def test_a_job_from_plan_to_proof(source: SimulatedSource, job: Path) -> None:
    """Planned, run, looked at, reported, verified: every command agrees, and the files are what was sent."""
    count = len(source.references())
    assert rad69("status", job).exit_code == 3
    result = run(job, source)
    assert result.exit_code == 0, result.output
    assert f"complete    {count} of {count} instances" in result.stdout
    assert written(job.parent / "images") == expected(source)
    found = json.loads(rad69("status", job, "--json").stdout)
    assert (found["complete"], found["done"], found["done_bytes"]) == (True, count, source.total_bytes)
    rows = list(csv.DictReader(StringIO(rad69("report", job).stdout)))
    assert {row["SOPInstanceUID"] for row in rows if row["State"] == "done"} == set(expected(source))
    assert len(json.loads(rad69("report", job, "--format", "json").stdout)["rows"]) == count
    assert rad69("report", job, "--json").stdout == rad69("report", job, "--format", "json").stdout
    page = rad69("report", job, "--format", "html").stdout
    assert page.startswith("<!")
    assert re.search(r"<p class=muted>The job as it was on \S+ \S+ UTC<", page)
    assert all(each.series_instance_uid in page for each in source.references())
    assert rad69("verify", job).stdout == f"good        {count} files\n"
    before = len(source.requests)
    assert run(job, source).exit_code == 0
    assert len(source.requests) == before


def test_rejected_lines_are_listed(source: SimulatedSource, tmp_path: Path) -> None:
    """With number and reason, on stderr and in the JSON; the rest is planned, and the code says that not all is."""
    table = write_table(tmp_path / "table.csv", source, "1.2,1.3,", "1.2,1.3,1.4.O")
    line = len(source.references()) + 2
    result = rad69("plan", table, "-o", tmp_path / "job.db")
    assert result.exit_code == 3
    assert f"rejected: table.csv, line {line}: sop_instance_uid: is missing" in result.stderr
    assert "rejected    2\n" in result.stdout
    found = json.loads(rad69("plan", table, "-o", tmp_path / "other.db", "--json").stdout)
    assert [each["line"] for each in found["rejected"]] == [line, line + 1]
    assert found["instances"] == len(source.references())


def test_a_rejection_note_is_planned_on_request(source: SimulatedSource, tmp_path: Path) -> None:
    """Without --rejected it is refused, in words that name the option; with it, all that it lists is planned."""
    note, path = tmp_path / "note.dcm", tmp_path / "job.db"
    write_kos(source.references()[:3], title="113001").save_as(note, enforce_file_format=True)
    result = rad69("plan", note, "-o", path)
    assert result.exit_code == 2
    assert "pass --rejected" in result.stderr
    table = write_table(tmp_path / "table.csv", source)
    for more in ((), ("--json",)):
        result = rad69("plan", note, table, "-o", tmp_path / f"{len(more)}.db", *more)
        assert result.exit_code == 3
        assert "pass --rejected" in (result.stdout if more else result.stderr)
    result = rad69("plan", note, "-o", path, "--rejected", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["instances"] == 3


@pytest.mark.parametrize("name", ["run", "status", "report", "verify"])
def test_what_is_no_job(name: str, tmp_path: Path) -> None:
    """The file is named, in one line, without a traceback; the same code as for any wrong command line."""
    (tmp_path / "job.db").write_text("nothing")
    more = ("--to", "http://localhost/rad69", "-o", tmp_path) if name == "run" else ()
    for path, message in ((tmp_path / "job.db", "is not a job"), (tmp_path / "none.db", "there is no job none.db")):
        result = rad69(name, path, *more)
        assert result.exit_code == 2
        assert message in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--window", "19-7"),
        ("--max-rate", "fast"),
        ("--max-rate", "0"),
        ("--min-free", "a lot"),
        ("--shard", "4/4"),
        ("--stop-after-failures", "0"),
        ("-o", "{SeriesInstanceUID}.dcm"),
    ],
)
def test_options_that_make_no_sense(option: str, value: str, job: Path, source: SimulatedSource) -> None:
    """Said before anything is sent, with what would make sense."""
    before = len(source.requests)
    result = run(job, source, option, value)
    assert result.exit_code == 2, result.output
    assert len(source.requests) == before


def test_without_a_repository_the_message_names_the_option(job: Path, source: SimulatedSource) -> None:
    """The library's keyword is the command's option."""
    result = rad69("run", job, "--to", source.url, "-o", job.parent / "images")
    assert result.exit_code == 2
    assert "--repository" in result.stderr


def test_a_source_that_is_not_there(job: Path) -> None:
    """Unreachable: its own code, and all is still to be asked for."""
    result = rad69(
        "run", job, "--to", "http://127.0.0.1:9/rad69", "--repository", "1.2", "-o", job.parent / "images", "--json"
    )
    assert result.exit_code == 5
    found = json.loads(result.stdout)
    assert found["error"]["class"] == "ConnectionFailed"
    assert found["pending"] == found["instances"]


def test_an_endpoint_that_refuses_us(source: SimulatedSource, tmp_path: Path) -> None:
    """Authentication, also where another endpoint gave all it has: to run it again would not help, and it says why."""
    lines = [
        "study uid,series uid,instance uid,repository",
        *(f"{uids(each)},{REPOSITORY}" for each in source.references()[:3]),
        "1.2,1.3,1.4,1.2.3.5",
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    assert rad69("plan", tmp_path / "table.csv", "-o", tmp_path / "job.db").exit_code == 0
    with ScriptedSource(lambda _: Scripted(status="401 Unauthorized")) as far:
        result = run(tmp_path / "job.db", source, "--endpoint", f"1.2.3.5={far.url}")
    assert result.exit_code == 4
    assert "3 of 4 instances" in result.stdout
    assert "401" in result.stderr
    assert "--user" in result.stderr


def test_what_is_refused_is_asked_for_again_on_request(source: SimulatedSource, tmp_path: Path) -> None:
    """Incomplete: 3, each time, and the reason is in the summary."""
    rad69("plan", write_table(tmp_path / "table.csv", source, "1.2,1.3,1.4"), "-o", tmp_path / "job.db")
    result = run(tmp_path / "job.db", source)
    assert result.exit_code == 3
    assert "1 x XDSMissingDocumentError (XDSMissingDocument)" in result.stdout
    assert "--refused" in result.stderr
    before = len(source.requests)
    assert run(tmp_path / "job.db", source).exit_code == 3
    assert len(source.requests) == before
    assert run(tmp_path / "job.db", source, "--refused", "--max-rate", "50MB/s", "--min-free", "1kB").exit_code == 3
    assert len(source.requests) == before + 1


def test_shards_and_merge(source: SimulatedSource, job: Path, tmp_path: Path) -> None:
    """Two copies of a plan, each run with its shard: merged, they are complete."""
    copies = [shutil.copy(job, tmp_path / f"{number}.db") for number in range(2)]
    for number, copy in enumerate(copies):
        assert run(Path(copy), source, "--shard", f"{number}/2").exit_code == 0
        assert rad69("status", copy).exit_code == 3
        assert rad69("status", copy, "--shard", f"{number}/2").exit_code == 0
    result = rad69("merge", *copies, "-o", tmp_path / "whole.db", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["complete"]
    assert rad69("verify", tmp_path / "whole.db").exit_code == 0


def test_verify_lists_and_asks_again(source: SimulatedSource, job: Path) -> None:
    """A changed file is found by its hash; after --ask-again a run puts the right one there."""
    run(job, source)
    victim = next((job.parent / "images").rglob("*.dcm"))
    good = victim.read_bytes()
    victim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    result = rad69("verify", job)
    assert result.exit_code == 3
    assert f"changed     {victim}" in result.stdout
    found = json.loads(rad69("verify", job, "--ask-again", "--json").stdout)
    assert found["files"] == [{"path": str(victim), "flaw": "changed"}]
    assert run(job, source).exit_code == 0
    assert victim.read_bytes() == good


@contextmanager
def without_write_access(job: Path) -> Iterator[Path]:
    """A copy of the job that may be read, as by somebody else than its owner."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for each in job.parent.glob(f"{job.name}*"):
            shutil.copy(each, folder)
            (folder / each.name).chmod(0o444)
        folder.chmod(0o555)
        user = os.getuid()
        if user == 0:
            os.setresuid(65534, 65534, 0)
        try:
            yield folder / job.name
        finally:
            if user == 0:
                os.setresuid(0, 0, 0)
            folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="needs another user's rights, as Linux gives them")
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_reading_needs_no_write_access(opened: bool, source: SimulatedSource, job: Path) -> None:
    """Status and report of somebody else's job are as of one's own, also while it runs, and leave nothing beside it."""
    run(job, source)
    readings = [("status",), ("report",), ("report", "--json")]
    with Job.open(job) if opened else nullcontext():
        expected = [rad69(name, job, *more).stdout for name, *more in readings]
        with without_write_access(job) as theirs:
            before = sorted(theirs.parent.iterdir())
            assert [rad69(name, theirs, *more).stdout for name, *more in readings] == expected
            assert rad69("run", theirs, "--to", source.url, "-o", "images").exit_code == 7
            assert sorted(theirs.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500", 500), ("5GB", 5e9), ("1.5 GiB", 1.5 * 2**30), ("20mb", 2e7), ("3 kB", 3e3)]
)
def test_sizes(text: str, size: float) -> None:
    """As people write them."""
    assert size_of(text) == size
    assert rate_of(f"{text}/s") == size


# --- interruptions


def running(job: Path, source: SimulatedSource, *args: object) -> subprocess.Popen[str]:
    arguments = ("run", job, "--to", source.url, "--repository", REPOSITORY, "-o", job.parent / "images", *args)
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_request(process: subprocess.Popen[str]) -> None:
    """Until its log says that a request went out."""
    assert process.stderr is not None
    for line in process.stderr:
        if "request started" in line:
            return
    raise AssertionError("no request went out")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_the_first_ctrl_c_finishes_what_is_in_flight(number: int, source: SimulatedSource, job: Path) -> None:
    """The request that is under way is answered to its end; no other goes out; the code says interrupted."""
    before = len(source.requests)
    with running(
        job, source, "--log-format", "json", "--json", "--max-requests-per-minute", 1, "--concurrency", 1
    ) as process:
        wait_for_request(process)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "finishing what is in flight" in stderr
    found = json.loads(stdout)
    [request] = source.requests[before:]
    assert found["done"] == len(request.sop_instance_uids)
    assert found["pending"] == found["instances"] - found["done"]
    assert len(written(job.parent / "images")) == found["done"]


@posix
def test_a_ctrl_c_that_comes_too_late(source: SimulatedSource, tmp_path: Path) -> None:
    """What is in flight was the last that was to be asked for: the job is complete, and nobody is told otherwise."""
    series = source.references()[-1].series_instance_uid
    lines = write_table(tmp_path / "all.csv", source).read_text().splitlines()
    table = tmp_path / "table.csv"
    table.write_text("\n".join([lines[0], *(line for line in lines if series in line)]))
    assert rad69("plan", table, "-o", tmp_path / "job.db").exit_code == 0
    with running(tmp_path / "job.db", source, "--log-format", "json", "--max-rate", "500kB/s") as process:
        wait_for_request(process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert stdout.startswith("complete ")
    assert "finishing what is in flight" in stderr
    assert "rad69:" not in stderr


@posix
def test_the_second_ctrl_c_aborts(source: SimulatedSource, job: Path) -> None:
    """What is in flight is given up at once, whatever it is waiting for; the job goes on with the next run."""
    with running(job, source, "--log-format", "json", "--json", "--max-rate", "1kB/s", "--concurrency", 1) as process:
        wait_for_request(process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("finishing what is in flight" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert not json.loads(stdout)["complete"]
    assert run(job, source).exit_code == 0
    assert written(job.parent / "images") == expected(source)


@posix
@pytest.mark.timeout(900)
def test_a_kill_loses_no_more_than_what_is_in_flight(source: SimulatedSource, job: Path) -> None:
    """Killed at random moments: what has a name is whole, what is done has its file, and the last run completes."""
    wanted, chance = expected(source), random.Random(69)
    for _ in range(50 if SCALE == "full" else 4):
        with running(job, source, "--max-rate", "2MB/s") as process:
            try:
                process.wait(chance.uniform(0.5, 1.2))
            except subprocess.TimeoutExpired:
                process.kill()
        assert all(wanted[name] == data for name, data in written(job.parent / "images").items())
        assert rad69("verify", job).exit_code == 0
    before = len(source.requests)
    kept = set(written(job.parent / "images"))
    assert run(job, source).exit_code == 0
    asked = {uid for each in source.requests[before:] for uid in each.sop_instance_uids}
    assert asked == set(wanted) - kept
    assert written(job.parent / "images") == wanted
    assert not list((job.parent / "images").rglob("*.part"))
    assert rad69("verify", job).exit_code == 0
