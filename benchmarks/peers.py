"""
The clients that are compared. Each measurement is a process of its own, which runs one of them once.

Run as ``python -m benchmarks.peers JSON``; it writes what it measured as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, aclosing, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from .source import PLAIN
from .workloads import REPOSITORY, WARM_UP, Workload, request_envelope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    import httpx

    from asyncrad69._options import RetrieveOptions

_BLOCK: Final = 256 * 1024
_SOAP: Final = {"Content-Type": "application/soap+xml"}
_TICK_S: Final = 0.005
_WALKED: Final = 240  # the first three, which the others are recognised by, take several times as long


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    One measurement.

    Args:
        peer: A key of `PEERS`.
        url: The source.
        workload: What it has.
        certificate: The CA of its certificate, for https.
        keep: Whether Datasets are kept in a list, or dropped one by one.
        concurrency: Requests at once; ``None`` for the peer's default.
        instances_per_request: As asyncrad69's option.
        spool_bytes: As asyncrad69's option; instances are then read through `Instance.chunks`.
        read_size: As asyncrad69's; ``None`` for its default.
        pause_ms: How long the consumer takes over each instance.
    """

    peer: str
    url: str
    workload: Workload
    certificate: str = ""
    keep: bool = True
    concurrency: int | None = None
    instances_per_request: int | None = None
    spool_bytes: int | None = None
    read_size: int | None = None
    pause_ms: float = 0

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """From the command line."""
        values = json.loads(text)
        return cls(**values | {"workload": Workload(**values["workload"])})


@dataclass
class Measurement:
    """
    What one run took. Memory counts from after the warm-up, in bytes.

    Attributes:
        seconds: Wall time, from the call to the last instance.
        first_s: Until the first instance; ``None`` where a peer has no instances.
        cpu_s: User and system time of the client's process.
        rss_over_base: How far the resident memory rose; ``None`` for curl.
        stall_s: The longest the event loop was held up; ``None`` without one.
        walk_s: The CPU time of the walk through all instances, measured afterwards; ``None`` where that is not done.
        instances: How many came; 0 where a peer has no instances.
        received: Their bytes: files, or pixel data for Datasets, or all of the body.
        whole: Whether that is everything.
    """

    seconds: float = 0.0
    first_s: float | None = None
    cpu_s: float = 0.0
    rss_over_base: int | None = 0
    stall_s: float | None = None
    walk_s: float | None = None
    instances: int = 0
    received: int = 0
    whole: bool = False
    _kept: list[Any] = field(default_factory=list, repr=False)
    _began: tuple[float, float, int] = (0.0, 0.0, 0)

    def begin(self) -> None:
        """Start the clocks."""
        self._began = (time.perf_counter(), _cpu_s(), _reset_peak_rss())

    def add(self, size: int, keep: object = None) -> None:
        """An instance has come."""
        if not self.instances:
            self.first_s = time.perf_counter() - self._began[0]
        self.instances += 1
        self.received += size
        if keep is not None:
            self._kept.append(keep)

    def end(self) -> None:
        """Stop the clocks."""
        began, cpu_s, rss = self._began
        self.seconds = time.perf_counter() - began
        self.cpu_s = _cpu_s() - cpu_s
        self.rss_over_base = _peak_rss() - rss

    def to_json(self) -> str:
        """For the process that asked."""
        return json.dumps({name: value for name, value in vars(self).items() if not name.startswith("_")})


@contextmanager
def measured() -> Generator[Measurement, None, None]:
    """The clocks run inside."""
    measurement = Measurement()
    measurement.begin()
    yield measurement
    measurement.end()


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def _reset_peak_rss() -> int:
    """Forget the peak so far, where the system can; returns the resident memory now."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return _status("VmRSS")


def _peak_rss() -> int:
    # Not ru_maxrss: over fork and exec it counts the parent's memory too.
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


# --- asyncrad69 ----------------------------------------------------------------------------------------


def _options(job: Job) -> RetrieveOptions:
    options: RetrieveOptions = {"instances_per_request": job.instances_per_request, "spool_bytes": job.spool_bytes}
    if job.concurrency is not None:
        options["concurrency"] = job.concurrency
    return options


def _client_settings(job: Job) -> dict[str, Any]:
    settings: dict[str, Any] = {"repository_unique_id": REPOSITORY}
    if job.read_size is not None:
        settings["read_size"] = job.read_size
    return settings | ({"verify": job.certificate} if job.certificate else {})


async def _asyncrad69(job: Job, http_client: httpx.AsyncClient | None, *, parse: bool) -> Measurement:
    from asyncrad69 import AsyncRad69

    borrowed = {"repository_unique_id": REPOSITORY, "http_client": http_client}
    settings: dict[str, Any] = borrowed if http_client else _client_settings(job)
    async with AsyncRad69(job.url, **settings) as rad69:
        await rad69.get_dataset(WARM_UP.references)
        references, options = job.workload.references, _options(job)
        results: AsyncGenerator[Any, None] = (
            rad69.datasets(references, **options) if parse else rad69.instances(references, **options)
        )
        async with _Watch() as watch, aclosing(results):
            with measured() as measurement:
                async for result in results:
                    _take(measurement, result, job, parse=parse)
                    if job.pause_ms:
                        await asyncio.sleep(job.pause_ms / 1000)
        measurement.stall_s = watch.worst_s
    measurement.walk_s = _walk_s(job.workload)
    return _judged(measurement, job, parse=parse)


def _walk_s(workload: Workload) -> float:
    """What the walk through all instances takes, by some of them. Pixel data is stepped over: one frame will do."""
    from asyncrad69._likeness import Likeness
    from asyncrad69._walk import examine

    some, seconds = replace(workload, count=min(workload.count, _WALKED), frames=1), 0.0
    likeness = Likeness()
    for uid in some.uids:
        data = some.instance(uid)
        begin = time.process_time()
        examine(data, likeness=likeness)
        seconds += time.process_time() - begin
    return seconds / some.count * workload.count


class _Watch:
    """Measures how long the event loop is held up. A tick costs 10 us, 200 times a second."""

    worst_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            self.worst_s = max(self.worst_s, time.perf_counter() - begin - _TICK_S)


def _take(measurement: Measurement, result: Any, job: Job, *, parse: bool) -> None:
    if not parse:
        spooled = job.spool_bytes is not None
        measurement.add(sum(map(len, result.chunks())) if spooled else result.size_bytes)
    else:
        # get_item leaves the element as it was read: converting it is no part of what is measured.
        measurement.add(len(result.get_item("PixelData").value), result if job.keep else None)


def _judged(measurement: Measurement, job: Job, *, parse: bool) -> Measurement:
    size = job.workload.pixel_bytes if parse else job.workload.instance_bytes
    measurement.whole = (measurement.instances, measurement.received) == (job.workload.count, job.workload.count * size)
    return measurement


def asyncrad69_datasets(job: Job) -> Measurement:
    """`AsyncRad69.datasets`, as it comes."""
    return asyncio.run(_asyncrad69(job, None, parse=True))


def asyncrad69_instances(job: Job) -> Measurement:
    """`AsyncRad69.instances`: verified, not parsed."""
    return asyncio.run(_asyncrad69(job, None, parse=False))


def asyncrad69_httpx(job: Job) -> Measurement:
    """`AsyncRad69.datasets` over a borrowed stock `httpx.AsyncClient`."""
    return asyncio.run(_borrowing(job, None))


def asyncrad69_aiohttp(job: Job) -> Measurement:
    """`AsyncRad69.datasets` over a borrowed `httpx.AsyncClient` with aiohttp's transport."""
    transport = import_module("httpx_aiohttp").AiohttpTransport
    return asyncio.run(_borrowing(job, transport))


async def _borrowing(job: Job, transport: Callable[..., httpx.AsyncBaseTransport] | None) -> Measurement:
    import httpx

    context = _ssl_context(job)
    made = transport(verify=context) if transport else None
    async with httpx.AsyncClient(transport=made, verify=context) as client:
        return await _asyncrad69(job, client, parse=True)


def asyncrad69_sync(job: Job) -> Measurement:
    """`Rad69.datasets`."""
    from asyncrad69 import Rad69

    with Rad69(job.url, **_client_settings(job)) as rad69:
        rad69.get_dataset(WARM_UP.references)
        with closing(rad69.datasets(job.workload.references, **_options(job))) as datasets, measured() as measurement:
            for dataset in datasets:
                _take(measurement, dataset, job, parse=True)
    return _judged(measurement, job, parse=True)


def asyncrad69_download(job: Job) -> Measurement:
    """`AsyncRad69.download`."""
    return asyncio.run(_download(job))


async def _download(job: Job) -> Measurement:
    from asyncrad69 import AsyncRad69

    with tempfile.TemporaryDirectory() as folder:
        async with AsyncRad69(job.url, **_client_settings(job)) as rad69:
            await rad69.get_dataset(WARM_UP.references)
            with measured() as measurement:
                report = await rad69.download(job.workload.references, folder, **_options(job))
        measurement.instances = len(report.delivered)
        measurement.received = _size_of_files(folder)
    measurement.whole = report.complete and measurement.received == job.workload.total_bytes
    return measurement


def _size_of_files(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*.dcm"))


# --- dicomtrolley and requests -------------------------------------------------------------------------


def dicomtrolley_sync(job: Job) -> Measurement:
    """dicomtrolley, one request per series."""
    return _dicomtrolley(job, use_async=False)


def dicomtrolley_async(job: Job) -> Measurement:
    """dicomtrolley, ``use_async`` with as many workers as requests at once."""
    return _dicomtrolley(job, use_async=True)


def dicomtrolley_files(job: Job) -> Measurement:
    """dicomtrolley, each Dataset saved by its `StorageDir`, as its `Trolley.download` does."""
    with tempfile.TemporaryDirectory() as folder:
        save = import_module("dicomtrolley.storage").StorageDir(folder).save
        return _dicomtrolley(job, use_async=False, save=save)


def _dicomtrolley(job: Job, *, use_async: bool, save: Callable[[Any], None] | None = None) -> Measurement:
    import requests

    client, reference = import_module("dicomtrolley.rad69").Rad69, import_module("dicomtrolley.core").InstanceReference

    def references(workload: Workload) -> list[Any]:
        return [
            reference(study_uid=study, series_uid=series, instance_uid=instance)
            for study, series, instance in workload.references
        ]

    with requests.Session() as session:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would outrank verify
        session.verify = job.certificate or True
        rad69 = client(session, job.url, use_async=use_async, max_workers=job.concurrency or 4)
        list(rad69.datasets(references(WARM_UP)))
        wanted = references(job.workload)
        with measured() as measurement:
            for dataset in rad69.datasets(wanted):
                _take(measurement, dataset, job, parse=True)
                if save is not None:
                    save(dataset)
                if job.pause_ms:  # sleeping for 0 s gives the processor away
                    time.sleep(job.pause_ms / 1000)
    return _judged(measurement, job, parse=True)


def requests_receive(job: Job) -> Measurement:
    """requests, receiving the body in 5 MB pieces and dropping it."""
    import requests

    with requests.Session() as session:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would outrank verify
        session.verify = job.certificate or True
        session.headers.update(_SOAP)
        session.stream = True
        assert session.post(job.url, data=request_envelope(WARM_UP.uids)).content
        envelope = request_envelope(job.workload.uids)
        with measured() as measurement:
            for piece in session.post(job.url, data=envelope).iter_content(5242880):
                measurement.received += len(piece)
    return _body_judged(measurement, job)


def httpx_receive(job: Job) -> Measurement:
    """Stock httpx, receiving the body and dropping it."""
    return asyncio.run(_httpx_receive(job))


def transport_receive(job: Job) -> Measurement:
    """httpx over our own transport, receiving the body and dropping it."""
    from asyncrad69._transport import DirectTransport

    return asyncio.run(_httpx_receive(job, DirectTransport(ssl_context=_ssl_context(job))))


async def _httpx_receive(job: Job, transport: httpx.AsyncBaseTransport | None = None) -> Measurement:
    import httpx

    client = httpx.AsyncClient(transport=transport, verify=_ssl_context(job), headers=_SOAP, timeout=None)
    async with client:
        await client.post(job.url, content=request_envelope(WARM_UP.uids))
        envelope = request_envelope(job.workload.uids)
        with measured() as measurement:
            async with client.stream("POST", job.url, content=envelope) as response:
                async for piece in response.aiter_raw():
                    measurement.received += len(piece)
    return _body_judged(measurement, job)


def _body_judged(measurement: Measurement, job: Job) -> Measurement:
    measurement.whole = measurement.received >= job.workload.total_bytes
    return measurement


# --- curl and the floor --------------------------------------------------------------------------------


def curl(job: Job) -> Measurement:
    """curl, to /dev/null."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(request_envelope(job.workload.uids))
        file.flush()
        command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--http1.1"]
        command += ["--header", "Expect:", "--header", "Content-Type: application/soap+xml"]
        command += ["--data-binary", f"@{file.name}", "--write-out", "%{size_download} %{time_total}"]
        command += ["--cacert", job.certificate] if job.certificate else []
        with measured() as measurement:
            done = subprocess.run([*command, job.url], check=True, capture_output=True, text=True)
    size, seconds = done.stdout.split()
    measurement.received, measurement.seconds = int(size), float(seconds)
    measurement.rss_over_base = None  # ru_maxrss of a child would be that of this process, which is larger
    return _body_judged(measurement, job)


def floor_receive(job: Job) -> Measurement:
    """A loop of ``recv_into``: the speed of the source and of the kernel."""
    buffer = bytearray(_BLOCK)
    request = _http_request(job)
    with measured() as measurement, _connected(job) as connection:
        connection.sendall(request)
        while size := connection.recv_into(buffer):
            measurement.received += size
    return _body_judged(measurement, job)


def floor_datasets(job: Job) -> Measurement:
    """The least that makes Datasets: each instance received in one piece of known size, and dcmread."""
    from pydicom import dcmread

    dcmread(BytesIO(WARM_UP.instance(WARM_UP.uids[0])))
    with _plain_files(job) as (files, measurement):
        for data in files:
            dataset = dcmread(BytesIO(data))
            dataset.buffer = None
            _take(measurement, dataset, job, parse=True)
    return _judged(measurement, job, parse=True)


def floor_files(job: Job) -> Measurement:
    """The least that makes files: each instance received in one piece of known size, and written."""
    with tempfile.TemporaryDirectory() as folder, _plain_files(job) as (files, measurement):
        for number, data in enumerate(files):
            Path(folder, f"{number}.dcm").write_bytes(data)
            measurement.add(len(data))
    return _judged(measurement, job, parse=False)


@contextmanager
def _plain_files(job: Job) -> Generator[tuple[Iterator[bytes], Measurement], None, None]:
    size, request = job.workload.instance_bytes, _http_request(job, f"{PLAIN}: 1\r\n")
    with measured() as measurement, _connected(job) as connection:
        connection.sendall(request)
        yield iter(lambda: connection.recv(size, socket.MSG_WAITALL), b""), measurement


def _http_request(job: Job, headers: str = "") -> bytes:
    envelope = request_envelope(job.workload.uids)
    head = (
        f"POST / HTTP/1.1\r\nHost: benchmark\r\nConnection: close\r\n{headers}Content-Length: {len(envelope)}\r\n\r\n"
    )
    return head.encode() + envelope


@contextmanager
def _connected(job: Job) -> Generator[socket.socket, None, None]:
    url = urlsplit(job.url)
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((url.hostname or "", url.port or 0)))
        if job.certificate:
            tls = _ssl_context(job).wrap_socket(connection, server_hostname=url.hostname)
            connection = stack.enter_context(tls)
        yield connection


def _ssl_context(job: Job) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=job.certificate or None)


#: All of them, by the name that tables show; the order is the tables'.
PEERS: Final[dict[str, Callable[[Job], Measurement]]] = {
    "floor recv": floor_receive,
    "floor dcmread": floor_datasets,
    "floor write": floor_files,
    "curl": curl,
    "asyncrad69": asyncrad69_datasets,
    "asyncrad69 sync": asyncrad69_sync,
    "asyncrad69 instances": asyncrad69_instances,
    "asyncrad69 download": asyncrad69_download,
    "asyncrad69 on httpx": asyncrad69_httpx,
    "asyncrad69 on aiohttp": asyncrad69_aiohttp,
    "dicomtrolley": dicomtrolley_sync,
    "dicomtrolley async": dicomtrolley_async,
    "dicomtrolley files": dicomtrolley_files,
    "transport recv": transport_receive,
    "requests recv": requests_receive,
    "httpx recv": httpx_receive,
}

#: What a peer needs beyond asyncrad69, by module; curl is a program.
NEEDS: Final = {
    "asyncrad69 on aiohttp": ("httpx_aiohttp",),
    "dicomtrolley": ("dicomtrolley", "requests"),
    "dicomtrolley async": ("dicomtrolley", "requests"),
    "dicomtrolley files": ("dicomtrolley", "requests"),
    "requests recv": ("requests",),
}


def main() -> None:
    """Run one job."""
    job = Job.from_json(sys.argv[1])
    print(PEERS[job.peer](job).to_json(), flush=True)


if __name__ == "__main__":
    main()
