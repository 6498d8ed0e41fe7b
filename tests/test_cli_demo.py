"""``rad69 demo``, as its user runs it: a process, another one beside it, files, a report."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from asyncrad69 import probe
from asyncrad69.cli._app import app
from asyncrad69.cli._source_process import source_process
from asyncrad69.testing import SimulatedSource

SLICES = 2


def demo(target: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asyncrad69", "demo", "--slices", str(SLICES), "-o", str(target), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def process_id(stderr: str) -> int:
    found = re.search(r"process (\d+)", stderr)
    assert found is not None, stderr
    return int(found[1])


def is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # there, signal 0 would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_demo(tmp_path: Path) -> None:
    """All of the archive arrives, byte for byte; stdout is the report; a second run is fine; no process is left."""
    first = demo(tmp_path / "out", "--json")
    assert first.returncode == 0, first.stderr
    source = SimulatedSource.demo(slices=SLICES)
    report = json.loads(first.stdout)
    assert report["complete"] is True
    assert report["instances"]["delivered"] == len(source.references())
    assert report["delivered_bytes"] == source.total_bytes
    assert sorted(row["sop_instance_uid"] for row in report["rows"]) == sorted(
        reference.sop_instance_uid for reference in source.references()
    )
    for row in report["rows"]:
        assert Path(row["path"]).read_bytes() == source.data(row["sop_instance_uid"])
    assert not is_running(process_id(first.stderr))
    second = CliRunner().invoke(app, ["demo", "--slices", str(SLICES), "-o", str(tmp_path / "out")])
    assert second.exit_code == 0, second.output
    assert "83 of 83 instances" in second.stdout


def test_demo_that_fails(tmp_path: Path) -> None:
    """A folder that cannot be written is exit code 7, and the source is gone all the same."""
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo", "--slices", "0", "-o", str(tmp_path / "file" / "below")])
    assert result.exit_code == 7, result.output
    assert not is_running(process_id(result.stderr))


def test_demo_without_a_folder() -> None:
    """An unset variable of the shell is no folder: nothing goes to the current one."""
    result = CliRunner().invoke(app, ["demo", "--slices", "0", "-o", ""])
    assert result.exit_code == 2, result.output
    assert "the target is empty" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, which is POSIX's")
def test_the_source_dies_with_its_parent() -> None:
    """A parent that is killed cannot clean up: the source sees its stdin end, and goes."""
    code = (
        "import signal\nfrom asyncrad69.cli._source_process import source_process\n"
        "with source_process(slices=0) as source:\n    print(source.process_id, flush=True)\n    signal.pause()"
    )
    # The source holds the pipe that its stderr is: it ends when the last of the two processes has ended.
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        _, stderr = parent.communicate(timeout=30)
    assert stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT to another process, which is POSIX's")
def test_serve_says_in_json_where_it_is(tmp_path: Path) -> None:
    """One line when it listens, for a program that waits for it; what it names is there."""
    command = [sys.executable, "-m", "asyncrad69", "serve", "--port", "0", "--slices", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        found = asyncio.run(probe(facts["url"], repository_unique_id=facts["repository_unique_id"]))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert found.failure is None
    assert (facts["instances"], facts["bytes"] > 0) == (82, True)
    assert (process.returncode, rest) == (0, b"")


def test_a_source_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """That is said at once, after what the source itself has to say."""
    monkeypatch.setattr("asyncrad69.cli._source_process.__name__", "asyncrad69.no_such_module")
    with pytest.raises(click.ClickException, match="did not start"), source_process(slices=0):
        pass
    assert "no_such_module" in capfd.readouterr().err
