"""Runs cases: a source per case, a process per measurement, peers in turn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from .peers import NEEDS, Job
from .source import SourceSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .cases import Case

_ROOT: Final = Path(__file__).parents[1]

#: One run as JSON: the fields of `Measurement`.
Run = dict[str, Any]


class Void(Exception):
    """A peer did not get everything, so that its time means nothing."""


def missing_need(peer: str) -> str | None:
    """What a peer needs and this machine has not; ``None`` if it can run."""
    if peer == "curl":
        return None if shutil.which("curl") else "curl"
    return next((module for module in NEEDS.get(peer, ()) if not installed(module)), None)


def missing_case_need(case: Case) -> str | None:
    """What a case needs, whoever runs it, and this machine has not."""
    return "trustme" if case.tls and not installed("trustme") else None


def installed(module: str) -> bool:
    """Whether *module* can be imported, without doing so."""
    return find_spec(module) is not None


def run_case(case: Case, rounds: int, say: Callable[[str], None]) -> dict[str, list[Run]]:
    """
    Measure *case*.

    Returns:
        The runs of each peer, in the order of the rounds.

    Raises:
        Void: A peer did not get everything.
    """
    peers = [peer for peer in case.peers if missing_need(peer) is None]
    runs: dict[str, list[Run]] = {peer: [] for peer in peers}
    with _certificate(wanted=case.tls) as certificate, _source(case, certificate) as port:
        for peer in _primers(case, peers):
            _run(_job(case, peer, port, certificate))
        for number in range(case.rounds or rounds):
            # Each round begins with another peer, so that none always follows the same.
            for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
                runs[peer].append(_run(_job(case, peer, port, certificate)))
                say(f"{case.name} {number + 1}: {peer} {runs[peer][-1]['seconds']:.3f} s")
    return runs


def _primers(case: Case, peers: Sequence[str]) -> list[str]:
    """One peer for each way to ask: the source builds each reply when it is first asked for."""
    firsts: dict[object, str] = {}
    for peer in peers:
        firsts.setdefault(_way_to_ask(case, peer), peer)
    return list(firsts.values())


def _way_to_ask(case: Case, peer: str) -> str:
    if peer in {"floor dcmread", "floor write"}:
        return "plain"
    if peer == "dicomtrolley async" or (case.instances_per_request and peer.startswith("asyncrad69")):
        return peer
    return "whole"


def _job(case: Case, peer: str, port: int, certificate: str) -> Job:
    return Job(
        peer=peer,
        url=f"{'https' if case.tls else 'http'}://127.0.0.1:{port}/rad69",
        workload=case.workload,
        certificate=certificate,
        keep=case.keep,
        concurrency=case.concurrency,
        instances_per_request=case.instances_per_request,
        spool_bytes=case.spool_bytes,
        read_size=case.read_size,
        pause_ms=case.pause_ms,
    )


def _run(job: Job) -> Run:
    command = [sys.executable, "-m", "benchmarks.peers", job.to_json()]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    run: Run = json.loads(done.stdout)
    if not run["whole"]:
        raise Void(f"{job.peer} got {run['instances']} instances, {run['received']} bytes: not everything")
    return run


@contextmanager
def _source(case: Case, certificate: str) -> Generator[int, None, None]:
    settings = SourceSettings(
        workload=case.workload,
        chunk_bytes=case.chunk_bytes,
        certificate=certificate,
        think_ms=case.think_ms,
        think_per_instance_ms=case.think_per_instance_ms,
        megabit_per_s=case.megabit_per_s,
    )
    command = [sys.executable, "-m", "benchmarks.source", settings.to_json()]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _certificate(*, wanted: bool) -> Generator[str, None, None]:
    """A PEM file with a key, its certificate and the CA: both the source and the peers read it."""
    if not wanted:
        yield ""
        return
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "certificate.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        authority.cert_pem.write_to_path(str(path), append=True)
        yield str(path)


def middle(runs: Sequence[Run], name: str) -> float | None:
    """The median of one field; ``None`` where a peer does not have it."""
    values = [run[name] for run in runs if run[name] is not None]
    return median(values) if values else None
