"""
`Rad69`: the same client for code that does not await: notebooks, scripts, thread pools.

One event loop in one thread does the work, through anyio's blocking portal, so that it works inside a running loop
too. The only room that knows `anyio.from_thread`.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections import deque
from contextlib import ExitStack, closing, suppress
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Final, Self, TypeVar, Unpack

from anyio import move_on_after
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ._client import AsyncRad69
from ._errors import InvalidInstanceError, Rad69Error
from ._limits import KIB, MIB
from ._qido import expand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
    from ssl import SSLContext
    from types import TracebackType

    from ._connection import Auth, ConnectionOptions, Login, SecurityHeaderGiven
    from ._dicom import Dataset
    from ._documents import DocumentReference, RetrievedDocument
    from ._download import Durability, Existing
    from ._http_client import HTTPClient
    from ._instance import Instance
    from ._options import RetrieveOptions, Timeout
    from ._references import InstanceReference, References
    from ._report import Report
    from ._retrieval import AsyncRetrieval
    from ._tls import Certificate, Verify
    from ._transport import SocketOption

T = TypeVar("T")

# What is fetched from the event loop's thread together: instances that come so shortly after each other, in seconds,
# up to so many bytes.
_RIGHT_BEHIND_S: Final = 0.001
_MOST_AT_ONCE: Final = 4 * MIB


class Rad69:
    """
    `AsyncRad69` without ``await``: the same names, parameters and errors.

        with Rad69("https://source.example/rad69", repository_unique_id="1.2.3") as rad69:
            for dataset in rad69.datasets(references):
                ...

    Args:
        url: As for `AsyncRad69`, as are all others.
    """

    def __init__(  # noqa: PLR0913 - all are keywords, and documented one by one
        self,
        url: str,
        *,
        auth: Auth | None = None,
        login: Login | None = None,
        security_header: SecurityHeaderGiven | None = None,
        headers: Mapping[str, str] | None = None,
        verify: Verify | None = None,
        cert: Certificate | None = None,
        ssl_context: SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        socket_options: Sequence[SocketOption] | None = None,
        endpoints: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        http_client: HTTPClient | None = None,
        memory_budget_bytes: int | None = 512 * MIB,
        read_size: int = 512 * KIB,
        max_bytes_per_s: float | None = None,
        max_requests_per_minute: float | None = None,
        **options: Unpack[RetrieveOptions],
    ) -> None:
        self._client = AsyncRad69(
            url,
            auth=auth,
            login=login,
            security_header=security_header,
            headers=headers,
            verify=verify,
            cert=cert,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
            socket_options=socket_options,
            endpoints=endpoints,
            allow_plaintext=allow_plaintext,
            http_client=http_client,
            memory_budget_bytes=memory_budget_bytes,
            read_size=read_size,
            max_bytes_per_s=max_bytes_per_s,
            max_requests_per_minute=max_requests_per_minute,
            **options,
        )
        self._thread: _Thread | None = None
        self._finalizer: weakref.finalize[[_Thread], Rad69] | None = None

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncRad69", "Rad69", 1)

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("this client is open already: share it, or make another")
        self._thread = _Thread(self._client)
        # Forgotten clients end with the garbage collector, or with the interpreter: no thread is left.
        self._finalizer = weakref.finalize(self, _forgotten, self._thread)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every retrieve, the event loop and its thread. Does nothing the second time."""
        # In this order: an interrupt in between must not leave a thread that nobody knows.
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        if self._finalizer is not None:
            self._finalizer.detach()

    def datasets(self, references: References, **options: Unpack[RetrieveOptions]) -> Generator[Dataset, None, None]:
        """As `AsyncRad69.datasets`, a generator."""
        return _parsed(self.retrieve(references, **options))

    def instances(self, references: References, **options: Unpack[RetrieveOptions]) -> Generator[Instance, None, None]:
        """As `AsyncRad69.instances`, a generator."""
        return _unparsed(self.retrieve(references, **options))

    def retrieve(self, references: References, **options: Unpack[RetrieveOptions]) -> Retrieval:
        """As `AsyncRad69.retrieve`: a context manager to iterate over."""
        return Retrieval(self, self._client.retrieve(references, **options))

    def get_dataset(self, reference: References, **options: Unpack[RetrieveOptions]) -> Dataset:
        """As `AsyncRad69.get_dataset`."""
        return self.thread().call(partial(self._client.get_dataset, reference, **options))

    def download(
        self,
        references: References,
        target: str | PathLike[str],
        *,
        existing: Existing = "skip",
        durability: Durability = "none",
        **options: Unpack[RetrieveOptions],
    ) -> Report:
        """As `AsyncRad69.download`."""
        return self.thread().call(
            partial(self._client.download, references, target, existing=existing, durability=durability, **options)
        )

    def retrieve_documents(
        self, documents: DocumentReference | Iterable[DocumentReference], **options: Unpack[RetrieveOptions]
    ) -> tuple[RetrievedDocument, ...]:
        """As `AsyncRad69.retrieve_documents`."""
        return self.thread().call(partial(self._client.retrieve_documents, documents, **options))

    def retrieve_manifest(
        self, document: DocumentReference, *, rejected: bool = False, **options: Unpack[RetrieveOptions]
    ) -> tuple[InstanceReference, ...]:
        """As `AsyncRad69.retrieve_manifest`."""
        return self.thread().call(partial(self._client.retrieve_manifest, document, rejected=rejected, **options))

    @property
    def is_open(self) -> bool:
        """Whether the client can be used now."""
        return self._thread is not None and self._thread.running

    def thread(self) -> _Thread:
        """The event loop's thread; for `Retrieval`."""
        if self._thread is None or not self._thread.running:
            raise RuntimeError("the client is not open: use it inside 'with Rad69(...) as rad69:'")
        return self._thread


class Retrieval:
    """
    One retrieve, and its report: `AsyncRetrieval` without ``await``. Made by `Rad69.retrieve`.

    A context manager to iterate over, for the instances in the order they arrive.
    """

    def __init__(self, client: Rad69, retrieval: AsyncRetrieval) -> None:
        self._client = client
        self._retrieval = retrieval
        self._ready: deque[Instance] = deque()
        self._at_once = 0  # more each time: whoever begins waits for one

    @property
    def report(self) -> Report:
        """What became of every instance, as of now; what is still to come counts as missing."""
        return self._retrieval.report

    def __enter__(self) -> Self:
        self._client.thread()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Retrieval:
        return self

    def __next__(self) -> Instance:
        """The next instance; raises what `AsyncRetrieval.__anext__` does, and `StopIteration` at the end."""
        while True:
            with suppress(IndexError):  # whoever else iterates may have been quicker
                return self._ready.popleft()
            try:
                self._client.thread().call(self._fetch)
            except StopAsyncIteration:
                raise StopIteration from None

    async def _fetch(self) -> None:
        """
        Make the next instance ready, and those that come right behind it: another turn takes longer than they do.

        Each at once, so that an interrupt loses none.
        """
        size = await self._fetch_one()
        with suppress(StopAsyncIteration, Rad69Error):  # the same again, when these have been taken
            while size < self._at_once:
                came = 0
                with move_on_after(_RIGHT_BEHIND_S):
                    came = await self._fetch_one()
                if not came:
                    break
                size += came
        self._at_once = min(2 * size, _MOST_AT_ONCE)

    async def _fetch_one(self) -> int:
        instance = await self._retrieval.__anext__()
        self._ready.append(instance)
        return instance.size_bytes

    def close(self) -> None:
        """End what is in flight. The report stays. Does nothing the second time."""
        if not self._client.is_open:  # one that was closed has ended it already
            self._put_back()
        elif self._client.thread().is_this:  # collected as garbage there, where nothing can be waited for
            self._put_back()
            self._retrieval.cancel()
        else:
            self._client.thread().call(self._end)

    async def _end(self) -> None:
        self._put_back()
        await self._retrieval.aclose()
        self._put_back()  # what a fetch that was interrupted still brought

    def _put_back(self) -> None:
        while self._ready:
            self._retrieval.put_back(self._ready.popleft())

    def stop_asking(self) -> None:
        """As `AsyncRetrieval.stop_asking`, from any thread: what is in flight still comes, and nothing else."""

        if self._client.is_open:  # one that was closed asks for nothing
            self._client.thread().do(self._retrieval.stop_asking)

    def reject(self, instance: Instance, error: Rad69Error) -> None:
        """Take a delivered instance back: the caller's own reading of it failed with *error*."""
        reject = partial(self._retrieval.reject, instance, error)
        if self._client.is_open:
            self._client.thread().do(reject)
        else:
            reject()


def expand_blocking(
    study_uid: str,
    *,
    qido_url: str,
    series_uid: str | None = None,
    repository_unique_id: str | None = None,
    home_community_id: str | None = None,
    page_size: int = 1000,
    timeout: Timeout | None = None,
    **connection: Unpack[ConnectionOptions],
) -> tuple[InstanceReference, ...]:
    """`expand` without ``await``. An *http_client* must not have been used in another event loop."""

    async def expanded() -> tuple[InstanceReference, ...]:
        return await expand(
            study_uid,
            qido_url=qido_url,
            series_uid=series_uid,
            repository_unique_id=repository_unique_id,
            home_community_id=home_community_id,
            page_size=page_size,
            timeout=timeout,
            **connection,
        )

    with start_blocking_portal(name="asyncrad69") as portal:
        return portal.call(expanded)


def _parsed(retrieval: Retrieval) -> Generator[Dataset, None, None]:
    with closing(retrieval):
        for instance in retrieval:
            try:
                dataset = instance.dataset  # here, beside the thread that receives the next one
            except InvalidInstanceError as exc:
                retrieval.reject(instance, exc)
            else:
                yield dataset


def _unparsed(retrieval: Retrieval) -> Generator[Instance, None, None]:
    with closing(retrieval):
        yield from retrieval


class _Thread:
    """The event loop's thread, with the client open in it."""

    def __init__(self, client: AsyncRad69) -> None:
        self._process = os.getpid()
        self._stopped = False
        with ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal(name="asyncrad69"))
            # Entered and left in one task, as a cancel scope must be.
            opened = self._portal.wrap_async_context_manager(client)
            opened.__enter__()
            # Left without an exception: a KeyboardInterrupt thrown into the loop's thread would kill the loop.
            stack.callback(opened.__exit__, None, None, None)
            self._ident = self._portal.call(threading.get_ident)
            self._stack = stack.pop_all()

    @property
    def is_this(self) -> bool:
        """Whether we are in it, so that nothing may wait for it."""
        return threading.get_ident() == self._ident

    @property
    def running(self) -> bool:
        """Whether the loop is there to be called."""
        return not self._stopped

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await *function*'s result in the loop; if we are interrupted, so is it."""
        if os.getpid() != self._process:
            raise RuntimeError("the client was opened before a fork: open one in the child")
        future = self._portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def do(self, function: Callable[[], None]) -> None:
        """Call *function* in the loop, or here if this is the loop's thread: an event's receiver runs in it."""
        if self.is_this:
            function()
            return

        async def done() -> None:
            function()

        self.call(done)

    def stop(self) -> None:
        if self.is_this:
            raise RuntimeError(
                "the client cannot be closed in its own thread: stop_asking() ends a retrieve from an event"
            )
        self._stopped = True
        # A forked child has the object but not the thread.
        if os.getpid() == self._process:
            self._stack.close()


def _forgotten(thread: _Thread) -> None:
    warnings.warn("a Rad69 client was not closed: use 'with Rad69(...)'", ResourceWarning, stacklevel=2)
    if thread.is_this:  # the garbage collector runs where it likes
        threading.Thread(target=thread.stop, name="asyncrad69 closing").start()
    else:
        thread.stop()
