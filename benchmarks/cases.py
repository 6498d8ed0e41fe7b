"""What is measured: the cases of the quick and of the full run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .workloads import Workload

CT: Final = Workload("ct", 240, 512)  # 526 KB each
SMALL: Final = Workload("small", 2000, 64)  # 11 KB
MULTI_FRAME: Final = Workload("mf", 2, 512, frames=300)  # 157 MB
GIANT: Final = Workload("giant", 1, 512, frames=2048)  # 1.07 GB

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    One table: some peers, all with the same settings, in interleaved rounds.

    Args:
        name: In JSON, and for ``--only``.
        workload: What is retrieved.
        peers: Who retrieves it.
        chunk_bytes, think_ms, think_per_instance_ms, megabit_per_s: As `SourceSettings`.
        tls: Whether over https.
        keep, concurrency, instances_per_request, spool_bytes, read_size, pause_ms: As `Job`.
        rounds: How often each peer is measured; ``None`` for the run's default.
    """

    name: str
    workload: Workload
    peers: tuple[str, ...]
    chunk_bytes: int = 8 * KIB
    tls: bool = False
    think_ms: float = 0
    think_per_instance_ms: float = 0
    megabit_per_s: float = 0
    keep: bool = True
    concurrency: int | None = None
    instances_per_request: int | None = None
    spool_bytes: int | None = None
    read_size: int | None = None
    pause_ms: float = 0
    rounds: int | None = None

    @property
    def title(self) -> str:
        """The settings in words."""
        framing = f"HTTP chunks of {self.chunk_bytes // KIB} KiB" if self.chunk_bytes else "Content-Length"
        size = self.workload.instance_bytes / 1e6
        words = [f"{self.workload.count} x {size:.3g} MB", "https" if self.tls else "http", framing]
        words += [f"{self.think_ms:g} ms per request"] if self.think_ms else []
        words += [f"{self.think_per_instance_ms:g} ms per instance"] if self.think_per_instance_ms else []
        words += [f"{self.megabit_per_s:g} Mbit/s"] if self.megabit_per_s else []
        words += ["Datasets dropped"] if not self.keep else []
        words += [f"concurrency {self.concurrency}"] if self.concurrency else []
        words += [f"{self.instances_per_request} instances per request"] if self.instances_per_request else []
        words += [f"spooled above {self.spool_bytes // MIB} MiB"] if self.spool_bytes is not None else []
        words += [f"reads of {self.read_size // KIB} KiB"] if self.read_size else []
        words += [f"a consumer that takes {self.pause_ms:g} ms each"] if self.pause_ms else []
        return f"{self.name}: {', '.join(words)}"


_FLOOR: Final = ("floor recv", "floor dcmread")
_OURS: Final = ("asyncrad69", "asyncrad69 sync", "asyncrad69 instances")
_BORROWED: Final = ("asyncrad69 on httpx", "asyncrad69 on aiohttp")
_THEIRS: Final = ("dicomtrolley", "dicomtrolley async")
_EVERYBODY: Final = (*_FLOOR, "curl", *_OURS, *_BORROWED, *_THEIRS)
_RECEIVERS: Final = ("floor recv", "curl", "transport recv", "requests recv", "httpx recv")
_TO_FILES: Final = ("floor recv", "floor write", "asyncrad69 download", "dicomtrolley files")
_HEAD_TO_HEAD: Final = (*_FLOOR, "asyncrad69", "dicomtrolley")

_CT_8K: Final = Case(name="ct-8k", workload=CT, peers=_EVERYBODY)
_HTTPS: Final = Case(name="ct-8k-https", workload=CT, peers=(*_RECEIVERS, "asyncrad69", "dicomtrolley"), tls=True)
_SMALL_8K: Final = Case(name="small-8k", workload=SMALL, peers=_HEAD_TO_HEAD)
_MF_8K: Final = Case(name="mf-8k", workload=MULTI_FRAME, peers=_HEAD_TO_HEAD)
_DROPPED: Final = Case(name="ct-dropped", workload=CT, peers=("asyncrad69", "dicomtrolley"), keep=False, concurrency=1)
_SLOW_CONSUMER: Final = Case(
    name="slow-consumer",
    workload=CT,
    peers=("asyncrad69 instances",),
    concurrency=8,
    instances_per_request=8,
    pause_ms=5,
    rounds=2,
)
_GIANT: Final = Case(name="giant", workload=GIANT, peers=("asyncrad69 instances",))
_GIANT_SPOOLED: Final = replace(_GIANT, name="giant-spooled", spool_bytes=8 * MIB)


def _think_per_instance(concurrency: int) -> Case:
    return Case(
        name=f"think-instance-c{concurrency}",
        workload=replace(CT, count=32),
        peers=("asyncrad69",),
        think_per_instance_ms=50,
        concurrency=concurrency,
        instances_per_request=1,
        rounds=2,
    )


def _concurrency(number: int) -> Case:
    return Case(
        name=f"concurrency-{number}",
        workload=CT,
        peers=("asyncrad69", "dicomtrolley async"),
        concurrency=number,
        instances_per_request=15,
    )


def _read_size(size: int, *, tls: bool = False) -> Case:
    name = f"read-{size // KIB}k{'-https' if tls else ''}"
    return Case(name=name, workload=CT, peers=("asyncrad69 instances",), read_size=size, tls=tls)


def _instances_per_request(number: int) -> Case:
    return Case(name=f"split-{number}", workload=CT, peers=("asyncrad69",), instances_per_request=number)


def _beside_source(case: Case) -> Case:
    return replace(case, peers=("floor recv", *case.peers))


QUICK: Final = (
    replace(_CT_8K, peers=(*_FLOOR, "curl", "asyncrad69", "asyncrad69 instances", *_THEIRS)),
    replace(_SMALL_8K, workload=replace(SMALL, count=600)),
    replace(_HTTPS, rounds=2),
    replace(_MF_8K, workload=replace(MULTI_FRAME, count=1), rounds=1),
    replace(_DROPPED, rounds=1),
    _SLOW_CONSUMER,
    replace(_GIANT_SPOOLED, workload=replace(GIANT, frames=1024), rounds=1),
    replace(_read_size(16 * KIB), rounds=1),  # 512 is the default, in ct-8k
    *(replace(_think_per_instance(each), rounds=1) for each in (1, 8)),
)

FULL: Final = (
    replace(_CT_8K, name="ct-4k", chunk_bytes=4 * KIB),
    _CT_8K,
    replace(_CT_8K, name="ct-64k", chunk_bytes=64 * KIB),
    replace(_CT_8K, name="ct-length", chunk_bytes=0),
    replace(_SMALL_8K, peers=_EVERYBODY),
    replace(_SMALL_8K, name="small-length", peers=_HEAD_TO_HEAD, chunk_bytes=0),
    replace(_MF_8K, peers=_EVERYBODY),
    replace(_MF_8K, name="mf-length", chunk_bytes=0),
    replace(_HTTPS, peers=(*_RECEIVERS, *_OURS[:2], *_BORROWED, *_THEIRS)),
    replace(_HTTPS, name="ct-length-https", chunk_bytes=0),
    Case(name="ct-receive", workload=CT, peers=_RECEIVERS),
    Case(name="ct-files", workload=CT, peers=_TO_FILES, keep=False),
    Case(name="small-files", workload=SMALL, peers=_TO_FILES, keep=False),
    Case(name="ct-1gbit", workload=CT, peers=("curl", "asyncrad69", "dicomtrolley"), megabit_per_s=1000),
    Case(name="ct-100mbit", workload=replace(CT, count=60), peers=("curl", "asyncrad69"), megabit_per_s=100, rounds=2),
    _beside_source(_concurrency(1)),
    *map(_concurrency, (2, 4, 8, 16)),
    *map(_instances_per_request, (1, 4, 15, 60)),
    _beside_source(_instances_per_request(240)),
    *(_read_size(each * KIB) for each in (16, 64, 256)),
    _beside_source(_read_size(512 * KIB)),
    *(_read_size(each * KIB, tls=True) for each in (16, 64, 256)),
    _beside_source(_read_size(512 * KIB, tls=True)),
    *(replace(_concurrency(each), name=f"think-request-c{each}", think_ms=50) for each in (1, 4, 16)),
    *map(_think_per_instance, (1, 4, 8, 16)),
    _beside_source(_DROPPED),
    replace(_DROPPED, name="mf-dropped", workload=MULTI_FRAME, rounds=3),
    _SLOW_CONSUMER,
    _beside_source(_GIANT),
    _GIANT_SPOOLED,
)

#: The smallest that goes through everything; for the test suite.
SMOKE: Final = (
    Case(
        name="smoke",
        workload=Workload("tiny", 4, 16),
        peers=("floor dcmread", "asyncrad69"),
        rounds=1,
    ),
)
