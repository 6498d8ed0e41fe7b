"""The simulated source as its user sees it: made of instances, started and stopped, looked at afterwards."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Unpack

from pydicom import Dataset

from asyncrad69._documents import DocumentReference

from ._app import PATH, App
from ._archive import Archive, Holding, indexed
from ._demo import demo_holdings
from ._faults import Fault, FaultPlanError
from ._kos import kos_bytes, write_kos
from ._settings import READ_SIZE, Settings, SourceOptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from asyncrad69._references import InstanceReference

    from ._requests_log import ReceivedRequest
    from ._server import ServerThread


class SimulatedSource:
    """
    An Imaging Document Source (IHE RAD-69) on a loopback socket, for tests.

    It answers like a strict source: a request that breaks a rule gets the SOAP fault that names it. Instances
    are sent byte for byte as they are kept, never transcoded, and files are streamed, never read as a whole.

        with SimulatedSource("tests/data") as source:       # or: async with
            ...                                             # source.url, source.references()
        assert source.max_in_flight <= 4

    It runs in a thread with its own event loop, and so answers a test that blocks, too. ``async with`` needs
    asyncio; elsewhere, ``with`` does the same.

    Args:
        instances: A folder, of which everything below is taken that is DICOM and has study, series and SOP
            Instance UID; or an iterable of folders, files and Datasets, mixed as they come. Folders and files
            are indexed here by their headers and read when asked for. Datasets are encoded here, in the
            transfer syntax of their ``file_meta``, and kept in memory. Of two instances with the same SOP
            Instance UID the first counts, folders sorted by path.
        host: The address to listen at.
        port: The port; 0 takes a free one, another with each start.
        **options: How it behaves; see `Settings`.

    Raises:
        FaultPlanError: A fault that makes no sense.
        ValueError: Another option that makes no sense.
        FileNotFoundError: There is no such folder or file.
        pydicom.errors.InvalidDicomError: A file that was named is not a DICOM file.
        OSError: A file for TLS cannot be read or does not hold what it should.
        InvalidReferenceError: A file or Dataset that was given lacks a UID, or the repository's is no OID.
    """

    def __init__(
        self,
        instances: Holding | Iterable[Holding],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **options: Unpack[SourceOptions],
    ) -> None:
        settings = Settings(**options)
        # A Dataset is an iterable too, of its elements.
        holdings = (instances,) if isinstance(instances, str | os.PathLike | Dataset) else instances
        self._archive = Archive(holdings, repository_unique_id=settings.repository_unique_id)
        self._check_plan(settings.faults)
        self._app = App(archive=self._archive, settings=settings)
        self._tls = settings.maybe_tls()
        self._address = (host, port)
        self._url: str | None = None
        self._thread: ServerThread | None = None

    @classmethod
    def demo(
        cls,
        *,
        slices: int = 60,
        host: str = "127.0.0.1",
        port: int = 0,
        **options: Unpack[SourceOptions],
    ) -> Self:
        """
        A source with instances to try things with, of invented patients and with the same UIDs each time.

        Args:
            slices: The length of a CT series, 512 x 512 x 16 bit, held in memory at 0.5 MiB per slice. It
                comes after the 81 small instances of 13 series (CT, MR, CR) that pydicom brings along.
            host: See the class.
            port: See the class.
            **options: See the class.
        """
        return cls(demo_holdings(slices), host=host, port=port, **options)

    def _check_plan(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if fault.sop_instance_uid and self._archive.maybe_instance(fault.sop_instance_uid) is None:
                raise FaultPlanError(f"{fault.kind}: the source does not hold instance {fault.sop_instance_uid}")

    @property
    def url(self) -> str:
        """The endpoint. It stays readable after ``stop``, for a test of a source that is down."""
        if self._url is None:
            raise RuntimeError("the source has no URL before it is started: use `with source:`")
        return self._url

    @property
    def total_bytes(self) -> int:
        """The sum of the instances, in bytes."""
        return sum(stored.size_bytes for stored in self._archive)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every POST to the endpoint so far, over all starts, in the order the answers began."""
        return list(self._app.requests)

    @property
    def max_in_flight(self) -> int:
        """The most requests that were being answered at once, over all starts."""
        return self._app.max_in_flight

    def references(self) -> tuple[InstanceReference, ...]:
        """All instances, in their order, each with the repository unique id of the source."""
        return tuple(stored.reference for stored in self._archive)

    def publish(self, manifest: Dataset | None = None) -> DocumentReference:
        """
        Hold a manifest for ITI-43, at the same URL.

        Args:
            manifest: Made by `write_kos`; ``None`` for one of all instances here.

        Returns:
            What to ask for: ``client.retrieve_manifest(source.publish())``.
        """
        repository = self._app.settings.repository_unique_id
        kos = write_kos(self._archive.datasets(), repository_unique_id=repository) if manifest is None else manifest
        stored = indexed(kos_bytes(kos), repository)
        uid = stored.reference.sop_instance_uid
        self._app.documents[uid] = stored
        return DocumentReference(repository_unique_id=repository, document_unique_id=uid)

    def data(self, sop_instance_uid: str) -> bytes:
        """
        The instance as it is sent: a Part 10 file.

        Raises:
            KeyError: The source does not hold it.
        """
        stored = self._archive.maybe_instance(sop_instance_uid)
        if stored is None:
            raise KeyError(sop_instance_uid)
        return b"".join(stored.pieces(READ_SIZE))

    def start(self) -> None:
        """
        Return when requests are answered. A stopped source can be started again.

        Raises:
            RuntimeError: It is running already.
            ImportError: uvicorn is not installed; the message says how to get it.
            OSError: The address is taken or not ours.
        """
        if self._thread is not None:
            raise RuntimeError("the source is running already")
        # Here, since only a source that runs needs the extra "server".
        from ._server import ServerThread  # noqa: PLC0415 - see above

        listener = _listener(*self._address)
        self._url = _url(listener, "https" if self._tls else "http")
        thread = ServerThread(self._app, listener, ssl_context=self._tls)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """Cut what is in flight and return when socket and thread are gone. Without effect if not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Cancelled, the thread still stops the source; only the waiting for it ends.
        await asyncio.to_thread(self.stop)


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens: the port is known, and connections wait, before the server runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}{PATH}" if ":" in host else f"{scheme}://{host}:{port}{PATH}"
