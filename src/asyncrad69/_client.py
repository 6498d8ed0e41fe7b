"""`AsyncRad69`: the face for asyncio and trio. It only wires."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self, Unpack

from anyio import CancelScope, create_task_group, get_current_task
from anyio.lowlevel import EventLoopToken, current_token

from ._connection import Auth, Connection, Login, SecurityHeaderGiven
from ._content import MemoryBudget
from ._document_retrieval import retrieve_documents
from ._documents import DocumentReference, RetrievedDocument, document_references
from ._download import Download
from ._endpoint import Endpoint
from ._errors import IncompleteRetrieveError, InvalidInstanceError, StorageError
from ._kos import references_from_document
from ._limits import KIB, MIB, whole
from ._options import Options, RetrieveOptions
from ._plan import addressed
from ._references import References, references_from, valid_uid
from ._retrieval import AsyncRetrieval
from ._services import Services
from ._threads import in_thread
from ._throttle import Throttle
from ._to_files import close, retrieval_to

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from os import PathLike
    from ssl import SSLContext
    from types import TracebackType

    from anyio.abc import TaskGroup

    from ._dicom import Dataset
    from ._download import Durability, Existing
    from ._http_client import HTTPClient
    from ._instance import Instance
    from ._references import InstanceReference
    from ._report import Report
    from ._tls import Certificate, Verify
    from ._transport import SocketOption

# Parsing is quicker on the spot than in a thread, up to what would hold up the event loop for long.
_PARSE_IN_THREAD = 32 * MIB


class AsyncRad69:
    """
    An IHE Imaging Document Source, reached with RAD-69.

        async with AsyncRad69("https://source.example/rad69", repository_unique_id="1.2.3") as rad69:
            async for dataset in rad69.datasets(references):
                ...

    One client serves any number of retrieves at once, from the event loop it was opened in. Leaving it ends them;
    it may be opened again, also in another event loop.

    Args:
        url: The RAD-69 endpoint.
        auth: Anything httpx takes for ``auth``, e.g. ``(user, password)``; or a function that takes nothing and gives
            a bearer token, async or not. It is called before the first request, and once for all tasks when the
            source answers 401.
        login: An async function that is given the `httpx.AsyncClient` of all requests and logs in, so that this has
            the session's cookies; one that is not async is given an `httpx.Client`, in a thread, whose cookies are
            taken over. It is called before the first request, and once for all tasks when the source answers 401,
            with an HTML page or with a redirect.
        security_header: A ``wsse:Security`` element, e.g. with a SAML assertion (IHE XUA), as bytes or text, sent
            byte for byte; or a function, async or not, that gives one. It is called again a minute before the
            assertion's NotOnOrAfter, or each time where there is none, and when the source refuses it.
        headers: Sent with every request.
        verify: A file of CA certificates to trust in place of the usual ones; ``"system"`` for those of the operating
            system (``asyncrad69[truststore]`` on macOS and Windows).
        cert: Our certificate for mutual TLS: a PEM file that has its key too, ``(certificate, key)``, or
            ``(certificate, key, password)``.
        ssl_context: All of TLS, in place of *verify* and *cert*.
        proxy: The URL of an HTTP proxy, with its credentials if it wants any. One with https is trusted as the source
            is, by *verify*, *cert* and *ssl_context*.
        trust_env: Whether to take a proxy from the environment; off, since it would carry credentials there.
        socket_options: Set on every socket once it is connected, as `socket.socket.setsockopt` takes them. By default
            TCP's keep-alive probes, one a minute: firewalls forget a connection that waits for a tape, and nobody
            tells of a source that is gone. ``()`` sets none.
        endpoints: Where repositories are that *url* does not serve: their URLs by repository unique id. All else holds
            for them too. A repository that fails does not end what comes from the others.
        allow_plaintext: Whether credentials may go out over ``http://`` to another machine.
        http_client: An `httpx.AsyncClient` to borrow, or one with the same interface (httpx2). It is neither closed
            nor changed, and it decides about TLS and proxies. Give it as many connections as *concurrency*.
        memory_budget_bytes: What the instances that are on their way may hold in memory together. One may always
            come, however large, and each request may have one beside that is whole and waits for you. ``None`` for
            no bound but *concurrency*.
        read_size: The most that one read of a socket takes, in bytes, where the transport is our own: on asyncio and
            without *http_client*.
        max_bytes_per_s: What all retrieves together may receive per second; ``None`` for no limit. No timeout runs
            while the client waits for it.
        max_requests_per_minute: How many requests may begin per minute, repetitions included; likewise.
        **options: Defaults for every retrieve; see `Options`.

    Raises:
        ValueError, TypeError: An option that makes no sense, or a security header that is none, said before anything
            is sent.
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
        self._options = Options().override(options)
        if memory_budget_bytes is not None:
            whole("memory_budget_bytes", memory_budget_bytes, otherwise="None for no bound")
        #: What the client lends to its retrieves; for this package's own.
        self.services = Services(
            tasks=self._open_tasks,
            endpoint=self._endpoint_of,
            memory=MemoryBudget(memory_budget_bytes),
            throttle=Throttle(max_bytes_per_s=max_bytes_per_s, max_requests_per_minute=max_requests_per_minute),
        )
        connection = Connection(
            url=url,
            auth=auth,
            login=login,
            security_header=security_header,
            headers=dict(headers or {}),
            verify=verify,
            cert=cert,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
            socket_options=socket_options,
            allow_plaintext=allow_plaintext,
            http_client=http_client,
            read_size=read_size,
        )
        self._endpoint = Endpoint(connection)
        if not isinstance(endpoints, Mapping | None):
            raise TypeError("endpoints are URLs by repository unique id, as in endpoints={'1.2.3': 'https://...'}")
        urls = {valid_uid(repository, "endpoints"): each for repository, each in (endpoints or {}).items()}
        by_url = {url: self._endpoint}
        for each in urls.values():
            by_url.setdefault(each, Endpoint(replace(connection, url=each)))
        self._endpoints = {repository: by_url[each] for repository, each in urls.items()}
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._asking: set[CancelScope] = set()
        self._opener: int | None = None
        self._loop: EventLoopToken | None = None

    @property
    def options(self) -> Options:
        """What holds for a retrieve where it says nothing else."""
        return self._options

    def __repr__(self) -> str:
        state = "closed" if self._tasks is None else "open"
        return f"<AsyncRad69 {self._endpoint.origin}, {self._options.concurrency} requests at once, {state}>"

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("this client is open already: share it, or make another")
        self.services.throttle.reset()
        async with AsyncExitStack() as stack:
            for endpoint in dict.fromkeys((self._endpoint, *self._endpoints.values())):
                await stack.enter_async_context(endpoint)
            self._stack = stack.pop_all()
        self._tasks = await create_task_group().__aenter__()
        self._loop, self._opener = current_token(), get_current_task().id
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """
        End every retrieve and close what the client owns. Does nothing the second time.

        Raises:
            RuntimeError: In another task than the one that opened it.
        """
        if self._tasks is None:
            return
        if get_current_task().id != self._opener:
            raise RuntimeError("a client is closed by the task that opened it, as 'async with' does")
        tasks, self._tasks = self._tasks, None
        for scope in self._asking:
            scope.cancel()
        tasks.cancel_scope.cancel()
        try:
            # Left as if nothing had happened: the task group would wrap the caller's own exception in a group.
            await tasks.__aexit__(None, None, None)
        finally:
            with CancelScope(shield=True):
                await self._stack.aclose()

    # --- retrieving

    def datasets(self, references: References, **options: Unpack[RetrieveOptions]) -> AsyncGenerator[Dataset, None]:
        """
        The pydicom Datasets of *references*, in the order they arrive, whole and verified.

        Nothing is sent before the first is asked for. The loop may be left at any time; ``contextlib.aclosing``
        makes sure that what is in flight ends there and then.

        Args:
            references: `InstanceReference`, 3-tuples of study, series and SOP Instance UID, Datasets that carry
                them, dicomtrolley's references and objects: one, or any iterable of them.
            **options: Override the client's.

        Raises:
            InvalidReferenceError: Now, if *references* do not name instances.
            IncompleteRetrieveError: At the end of the loop, if something did not come.
            Rad69Error: As soon as something concerns the endpoint as a whole.
        """
        return self._parsed(self.retrieve(references, **options))

    def instances(self, references: References, **options: Unpack[RetrieveOptions]) -> AsyncGenerator[Instance, None]:
        """
        As `datasets`, but `Instance` objects: the bytes exactly as sent, verified and not parsed.
        """
        return self._unparsed(self.retrieve(references, **options))

    def retrieve(self, references: References, **options: Unpack[RetrieveOptions]) -> AsyncRetrieval:
        """
        As `instances`, with a deterministic end and a report: an async context manager to iterate over.
        """
        chosen = self._options.override(options)
        return AsyncRetrieval(self.services, addressed(references_from(references), chosen), chosen)

    async def get_dataset(self, reference: References, **options: Unpack[RetrieveOptions]) -> Dataset:
        """
        The Dataset of one instance.

        Raises:
            Rad69Error: Why it did not come, e.g. `XDSMissingDocumentError`.
        """
        if len(references_from(reference)) != 1:
            raise ValueError("get_dataset takes one reference; datasets() takes many")
        # Whatever a retrieve may tolerate: where there is no Dataset, only an error can say so.
        options["on_failure"], options["ignore"] = "finish", ()
        try:
            async with aclosing(self.datasets(reference, **options)) as datasets:
                return await anext(datasets)
        except IncompleteRetrieveError as exc:
            error = exc.report.rows[0].error or exc
            error.report = exc.report
            raise error from error.__cause__

    async def download(
        self,
        references: References,
        target: str | PathLike[str],
        *,
        existing: Existing = "skip",
        durability: Durability = "none",
        **options: Unpack[RetrieveOptions],
    ) -> Report:
        """
        Write *references* to files, byte for byte as they were sent.

        A file appears under its name only once it is whole and verified. The folder ``.asyncrad69`` beside them has
        a journal, from which an interrupted download goes on, and a manifest with the SHA-256 of each file.

        Args:
            references: As for `datasets`.
            target: A folder, or a path with ``{StudyInstanceUID}``, ``{SeriesInstanceUID}`` and
                ``{SOPInstanceUID}`` in it.
            existing: ``"skip"`` asks only for what is not there, ``"verify"`` too, after it compared what is there
                with the journal's SHA-256; ``"overwrite"`` asks for everything and replaces files, ``"error"``
                refuses to begin. Unless told to overwrite, a file with other content is left as it is, and its
                instance is reported as missing, with `ExistingFileError`.
            durability: ``"none"`` leaves it to the operating system when data reaches the disk; ``"batch"`` and
                ``"each"`` sync groups of files or each one, so that what the journal has survives a power cut.
            **options: Override the client's.

        Raises:
            IncompleteRetrieveError: When the rest is written, if something did not come.
            StorageError: A file cannot be written, or is there and ``existing="error"``.
        """
        chosen = self._options.override(options)
        wanted = addressed(references_from(references), chosen)
        self._open_tasks()  # raises where the client is not open
        files = await in_thread(partial(Download, target, existing=existing, durability=durability))

        try:
            async with await retrieval_to(self.services, files, wanted, chosen) as retrieval:
                async for _ in retrieval:
                    pass
        except BaseException:
            with suppress(StorageError):  # the first error says what is wrong
                await close(files)
            raise
        try:
            await close(files)
        except StorageError as exc:
            exc.report = retrieval.report
            raise
        return retrieval.report

    # --- documents

    async def retrieve_documents(
        self, documents: DocumentReference | Iterable[DocumentReference], **options: Unpack[RetrieveOptions]
    ) -> tuple[RetrievedDocument, ...]:
        """
        Retrieve documents of XDS repositories, in the order given: ITI-43, which RAD-69 is made of.

        All of them are held in memory: this is for manifests and reports, a few at once.

        Args:
            documents: One, or several; each is retrieved once.
            **options: Override the client's; those that are about instances have no meaning here.

        Raises:
            Rad69Error: One did not come, and why; `XDSMissingDocumentError` where the repository does not have it.

        Source: ITI TF-2 3.43.
        """
        asked = document_references(documents)
        self._open_tasks()  # raises where the client is not open
        with CancelScope() as scope:
            self._asking.add(scope)
            try:
                return await retrieve_documents(self.services, asked, self._options.override(options))
            finally:
                self._asking.discard(scope)
        raise RuntimeError("the client was closed while documents were asked for")

    async def retrieve_manifest(
        self, document: DocumentReference, *, rejected: bool = False, **options: Unpack[RetrieveOptions]
    ) -> tuple[InstanceReference, ...]:
        """
        The instances that a manifest in a repository lists: ITI-43, then `references_from_kos`.

            references = await rad69.retrieve_manifest(document)
            report = await rad69.download(references, "images")

        Instances without a home community id have the document's.

        Args:
            document: The manifest.
            rejected: Whether to take what a rejection note lists.
            **options: As for `retrieve_documents`.

        Raises:
            NotAManifestError: The document is something else.
            RejectionNoteError: It is a rejection note, and *rejected* is false.
            Rad69Error: It did not come, and why.

        Source: RAD TF-2 4.68, 4.69.
        """
        (manifest,) = await self.retrieve_documents(document, **options)
        return references_from_document(manifest, rejected=rejected)

    # --- for retrieves

    def _open_tasks(self) -> TaskGroup:
        """The task group that workers live in."""
        if self._tasks is None:
            raise RuntimeError("the client is not open: use it inside 'async with AsyncRad69(...) as rad69:'")
        if self._loop != current_token():
            raise RuntimeError("the client was opened in another event loop: open one in each")
        return self._tasks

    def _endpoint_of(self, repository_unique_id: str | None) -> Endpoint:
        return self._endpoints.get(repository_unique_id or "", self._endpoint)

    async def _parsed(self, retrieval: AsyncRetrieval) -> AsyncGenerator[Dataset, None]:
        async with retrieval:
            async for instance in retrieval:
                try:
                    dataset = await _parse(instance)
                except InvalidInstanceError as exc:
                    retrieval.reject(instance, exc)
                else:
                    yield dataset

    async def _unparsed(self, retrieval: AsyncRetrieval) -> AsyncGenerator[Instance, None]:
        async with retrieval:
            async for instance in retrieval:
                yield instance


async def _parse(instance: Instance) -> Dataset:
    if instance.size_bytes < _PARSE_IN_THREAD:
        return instance.dataset
    return await in_thread(lambda: instance.dataset)
