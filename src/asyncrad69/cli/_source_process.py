"""
The demo's source, in a process of its own: ``python -m asyncrad69.cli._source_process --slices N``.

It says on stdout, in one line of JSON, where it is and what it has. It lives until its stdin ends, which the system
sees to when the parent is gone, however that ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast

import click

import asyncrad69.testing
from asyncrad69 import InstanceReference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69.testing import SimulatedSource

_GRACE_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSource:
    """The source, seen from the parent."""

    url: str
    process_id: int
    total_bytes: int
    references: tuple[InstanceReference, ...]


@contextmanager
def source_process(*, slices: int) -> Iterator[RunningSource]:
    """
    Run the demo archive's source in another process.

    Raises:
        click.ClickException: It did not start; it said why on stderr.
    """
    # -P: what lies in the working folder is nobody's module.
    command = [sys.executable, "-P", "-m", __name__, "--slices", str(slices)]
    # A session of its own: Ctrl-C on the terminal is the parent's business alone.
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a number
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield _introduced(process)
        finally:
            _end(process)


def _introduced(process: subprocess.Popen[bytes]) -> RunningSource:
    line = cast("IO[bytes]", process.stdout).readline()
    if not line:
        raise click.ClickException("the simulated source did not start")
    facts = json.loads(line)
    repository = facts["repository_unique_id"]
    return RunningSource(
        url=facts["url"],
        process_id=process.pid,
        total_bytes=facts["total_bytes"],
        references=tuple(InstanceReference(*uids, repository_unique_id=repository) for uids in facts["references"]),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    cast("IO[bytes]", process.stdin).close()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _facts(source: SimulatedSource) -> dict[str, Any]:
    references = source.references()
    return {
        "url": source.url,
        "repository_unique_id": references[0].repository_unique_id,
        "total_bytes": source.total_bytes,
        "references": [
            (reference.study_instance_uid, reference.series_instance_uid, reference.sop_instance_uid)
            for reference in references
        ],
    }


def _serve_until_stdin_ends(slices: int) -> None:
    with asyncrad69.testing.SimulatedSource.demo(slices=slices) as source:
        sys.stdout.write(json.dumps(_facts(source)) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _serve_until_stdin_ends(int(sys.argv[-1]))
