"""RAD-69 servers from beside the checkout, in processes of their own."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from asyncrad69 import InstanceReference

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = Path(__file__).parents[2].parent / "shared" / "peers"
REPOSITORY = "1.2.3"


@dataclass(frozen=True)
class Archive:
    """A folder of DICOM files that a peer serves, and what is in it."""

    folder: Path
    references: tuple[InstanceReference, ...]
    sha256: dict[str, str]

    @classmethod
    def made(cls, folder: Path, script: str, *arguments: str) -> Archive:
        """The archive that one of the peers' scripts makes."""
        subprocess.run((sys.executable, PEERS / script, folder, *arguments), check=True, stdout=subprocess.DEVNULL)
        with (folder / "manifest.tsv").open(newline="") as manifest:
            rows = list(csv.reader(manifest, delimiter="\t"))
        return cls(
            folder,
            tuple(InstanceReference(*row[:3], repository_unique_id=REPOSITORY) for row in rows),
            {row[2]: row[4] for row in rows},
        )

    def verify(self, sop_instance_uid: str, data: bytes) -> None:
        """Fail unless *data* is the instance, byte for byte."""
        assert hashlib.sha256(data).hexdigest() == self.sha256[sop_instance_uid]


class Peer:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    def url(self, path: str = "/rad69") -> str:
        """One of its endpoints."""
        return f"http://127.0.0.1:{self.port}{path}"

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_until_it_listens(self) -> None:
        """Return when it does; the first start on a machine installs and builds it."""
        for _ in range(3000):
            assert self._process.poll() is None, "the peer did not start"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            sleep(0.1)
        raise TimeoutError("the peer does not listen")


@contextmanager
def running(name: str, archive: Archive, **environment: str) -> Iterator[Peer]:
    """A peer with *archive*; *environment* has its settings."""
    port = _free_port()
    process = subprocess.Popen(
        ("sh", PEERS / "up.sh", name, str(port), archive.folder),
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    peer = Peer(process, port)
    try:
        peer.wait_until_it_listens()
        yield peer
    finally:
        peer.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
