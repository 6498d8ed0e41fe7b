"""The question that a probe asks, and what it sees of the answer."""

from __future__ import annotations

import re
import socket
import ssl
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack, cast
from urllib.parse import urlsplit

from anyio import fail_after, getaddrinfo
from pydicom.uid import UID

from asyncrad69._connection import Connection, ConnectionOptions
from asyncrad69._content_encoding import content_decoder
from asyncrad69._endpoint import Endpoint, Response
from asyncrad69._errors import (
    ConnectionFailed,
    ConnectionTimedOut,
    Rad69Error,
    RegistryError,
    SoapFault,
    XDSHomeCommunityError,
    XDSUnknownRepositoryIdError,
)
from asyncrad69._exchange import Manner, turn_of
from asyncrad69._limits import Limits
from asyncrad69._options import Packaging, Timeout
from asyncrad69._references import InstanceReference, References, references_from
from asyncrad69._reply import Reply, check_status
from asyncrad69._soap import SOAP_MEDIA_TYPE, Manifest
from asyncrad69._soap_request import ACCEPT, RetrieveImagingDocumentSet, mtom_body, simple_body
from asyncrad69._throttle import Throttle
from asyncrad69._transfer_syntaxes import AS_STORED
from asyncrad69._walk import examine

from ._layers import Findings, Probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from urllib.parse import SplitResult

    from asyncrad69._exchange import Attempt


_LIMITS: Final = Limits().of_reply(1)
_UNLIMITED: Final = Throttle(max_bytes_per_s=None, max_requests_per_minute=None)
# The file meta information is within it.
_KEPT: Final = 64 * 1024
_EXPIRES_SOON: Final = timedelta(days=30)
# What a server wrote of itself may be shown if it looks like what it should be.
_PRODUCT: Final = re.compile(r"[A-Za-z0-9 ./()_+-]{1,80}", re.ASCII)


async def probe(
    url: str,
    reference: References | None = None,
    *,
    repository_unique_id: str | None = None,
    home_community_id: str | None = None,
    transfer_syntaxes: Sequence[str] = AS_STORED,
    timeout: Timeout | None = None,  # noqa: ASYNC109 - limits of single waits
    **how: Unpack[ConnectionOptions],
) -> Probe:
    """
    Ask a source for one instance, and say of each layer from DNS to transfer syntax whether it works.

    Without a *reference* the question is for an instance that nobody has: its refusal shows that RAD-69 is spoken.
    One request, or two where the first packaging is not understood; nothing is repeated, and no instance is kept.

    Args:
        url: The RAD-69 endpoint.
        reference: One instance that the source should have.
        repository_unique_id: As for `AsyncRad69`; without one, nothing is said of it.
        home_community_id: As for `AsyncRad69`.
        transfer_syntaxes: As for `AsyncRad69`.
        timeout: As for `AsyncRad69`.
        **how: How to reach it, as for `AsyncRad69`: auth, security_header, verify, proxy, ...

    Raises:
        ValueError, TypeError: An argument that makes no sense, said before anything is sent. What the network and
            the source do is in the result.
    """
    given: dict[str, Any] = {**how, "headers": dict(how.get("headers") or {})}
    connection = Connection(url=url, **given)
    question = _Question(
        connection,
        _asked_for(reference, repository_unique_id, home_community_id),
        known=reference is not None,
        transfer_syntaxes=transfer_syntaxes,
        timeout=timeout or Timeout(),
    )
    return await question.ask()


def _asked_for(
    reference: References | None, repository_unique_id: str | None, home_community_id: str | None
) -> InstanceReference:
    one = InstanceReference(_made_up(), _made_up(), _made_up()) if reference is None else _the_one(reference)
    return replace(
        one,
        repository_unique_id=one.repository_unique_id or repository_unique_id,
        home_community_id=one.home_community_id or home_community_id,
    )


def _made_up() -> str:
    """A UID that nobody has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def _the_one(reference: References) -> InstanceReference:
    references = references_from(reference)
    if len(references) != 1:
        raise ValueError(f"a probe asks for one instance, not {len(references)}: pass references[0]")
    return references[0]


class _Question:
    """One request and its answer, with what is found on the way."""

    def __init__(
        self,
        connection: Connection,
        reference: InstanceReference,
        *,
        known: bool,
        transfer_syntaxes: Sequence[str],
        timeout: Timeout,
    ) -> None:
        self._connection = connection
        self._reference = reference
        self._known = known
        self._transfer_syntaxes = transfer_syntaxes
        self._timeout = timeout
        self._message_id = ""
        self._found = Findings()

    async def ask(self) -> Probe:
        """The answer's layers. Errors of the network and the source are findings."""
        endpoint = Endpoint(self._connection)
        try:
            await self._resolve()
            async with endpoint:
                await Manner(endpoint, "mtom", partial(turn_of, _UNLIMITED)).ask(partial(self._exchange, endpoint))
        except Rad69Error as exc:
            if isinstance(exc, SoapFault):
                self._found.works("soap", "it answers with a SOAP fault")
            self._found.failed(exc)
        return Probe(origin=endpoint.origin, layers=self._found.all())

    async def _resolve(self) -> None:
        if self._connection.proxy is not None:
            self._found.unknown("dns", "the proxy resolves the name")
            return
        parts = urlsplit(self._connection.url)
        host, port = cast("str", parts.hostname), _port(parts)
        try:
            with fail_after(self._timeout.connect_s):
                found = await getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ConnectionTimedOut("the name was not resolved in time", phase="connect", hint=_DNS_HINT) from None
        except (OSError, UnicodeError):
            raise ConnectionFailed("the host's name does not resolve", hint=_DNS_HINT) from None
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        self._found.works("dns", ", ".join(addresses[:4]))

    async def _exchange(self, endpoint: Endpoint, attempt: Attempt) -> None:
        self._message_id, proof = attempt.message_id, attempt.proof
        # The schema wants a repository: without one, nobody's.
        repository = self._reference.repository_unique_id or _made_up()
        reference = replace(self._reference, repository_unique_id=repository)
        question = RetrieveImagingDocumentSet(references=(reference,), transfer_syntaxes=tuple(self._transfer_syntaxes))
        envelope = question.xml(to=endpoint.url, message_id=self._message_id, security_header=proof.security_header)
        pack = mtom_body if attempt.packaging == "mtom" else simple_body
        content_type, body = pack(envelope, question.action)
        posting = endpoint.post(
            body, content_type=content_type, accept=ACCEPT, timeouts=self._timeout, token=proof.token
        )
        async with posting as (response, blocks):
            self._see_connection(response)
            self._see_status(response)
            manifest, document, size_bytes = await _read(response, blocks)
            self._see_envelope(response, attempt.packaging, in_parts=size_bytes > 0)
            self._see_answer(manifest)
            self._see_repository(manifest)
            self._see_instance(manifest, document, size_bytes)

    # --- layers

    def _see_connection(self, response: Response) -> None:
        address = response.connection_info("server_addr")
        where = f"{address[0]} port {address[1]}" if address else "connected"
        self._found.works("tcp", f"through the proxy, {where}" if self._connection.proxy else where)
        tls = response.connection_info("ssl_object")
        if tls is not None:
            self._found.works("tls", *_tls_says(tls))
        elif self._connection.url.startswith("http:"):
            self._found.unknown("tls", "the URL is http://: nothing is encrypted")
        else:
            self._found.works("tls", "established")

    def _see_status(self, response: Response) -> None:
        server = f", {response.server}" if _PRODUCT.fullmatch(response.server) else ""
        self._found.works("http", f"status {response.status}{server}")
        check_status(response.status, response.content_type, retry_after_s=response.retry_after_s)

    def _see_envelope(self, response: Response, packaging: Packaging, *, in_parts: bool) -> None:
        version = "1.2" if SOAP_MEDIA_TYPE in response.content_type.lower() else "1.1 or unmarked"
        self._found.works("soap", f"SOAP {version}")
        how = self._connection
        secured = how.auth or how.login or how.security_header or how.headers
        self._found.works("auth", "accepted" if secured else "none was needed")
        if packaging == "simple":
            hint = "It works; packaging='simple' spares the first attempt."
            self._found.works("mtom", "requests are taken in simple SOAP only", hint)
        elif response.content_type.lower().startswith("multipart/"):
            self._found.works("mtom", "both ways")
        elif in_parts:
            self._found.works("mtom", "the request is; images come inside the XML, a third larger")
        else:
            self._found.works("mtom", "the request is; this answer, without an image, came as simple SOAP")

    def _see_answer(self, manifest: Manifest) -> None:
        if manifest.relates_to == self._message_id:
            self._found.works("addressing", "the answer names our message")
        elif manifest.relates_to is None:
            self._found.unknown("addressing", "the answer names no message, which is tolerated")
        else:
            hint = "A proxy or the source mixes up its answers: do not use it before its operator has mended this."
            self._found.fails("addressing", "the answer names another message than ours", hint)
        self._found.works("rad69", f"a RetrieveDocumentSetResponse, {_status_word(manifest.status)}")

    def _see_repository(self, manifest: Manifest) -> None:
        kinds = XDSUnknownRepositoryIdError, XDSHomeCommunityError
        refusal = next((error for error in manifest.errors if isinstance(error, kinds)), None)
        if self._reference.repository_unique_id is None:
            self._found.unknown("repository", "not asked for", "Pass repository_unique_id=, the source's OID.")
        elif refusal is not None:
            self._found.fails("repository", refusal.message, refusal.hint or "", refusal)
        else:
            self._found.works("repository", "no objection to the repository unique id")

    def _see_instance(self, manifest: Manifest, document: bytes, size_bytes: int) -> None:
        if not self._known:
            said = next((f": {error.message}" for error in manifest.errors), "")
            self._found.unknown("instance", f"none was asked for{said}", "Name one that it has, to see one come.")
        elif size_bytes:
            self._see_document(document, size_bytes)
        else:
            error = next((error for error in manifest.errors if error.severity == "Error"), None)
            self._found.fails("instance", *_refusal(error))

    def _see_document(self, document: bytes, size_bytes: int) -> None:
        facts = examine(document)  # of its beginning, which has no flaw to speak of
        transfer_syntax = facts.transfer_syntax_uid
        if facts.sop_instance_uid not in {"", self._reference.sop_instance_uid}:
            hint = "Its operator has to know: another instance may be another patient's."
            self._found.fails("instance", "another instance came than was asked for", hint)
        elif transfer_syntax:
            name = UID(transfer_syntax).name
            shown = f"{name} ({transfer_syntax})" if name != transfer_syntax else name
            self._found.works("instance", f"{size_bytes:,} bytes, {shown}")
        else:
            self._found.fails("instance", "what came is not a DICOM file", "Ask its operator: the answer is broken.")


async def _read(response: Response, blocks: AsyncIterator[bytes]) -> tuple[Manifest, bytes, int]:
    """The manifest, the beginning of the first document, and the size of all of them."""
    reply = Reply(http_status=response.status, content_type=response.content_type, limits=_LIMITS)
    decoder = content_decoder(response.content_encoding, max_inflation=_LIMITS.max_inflation)
    document, size_bytes = bytearray(), 0

    def take(events: Any) -> None:
        nonlocal size_bytes
        for event in events:
            if isinstance(event, bytes | memoryview):
                size_bytes += len(event)
                document.extend(event[: max(0, _KEPT - len(document))])

    async for block in blocks:
        for decoded in decoder.feed(block):
            take(reply.feed(decoded))
        if reply.complete:
            break
    else:
        decoder.finish()
    take(reply.finish())
    return cast("Manifest", reply.manifest), bytes(document), size_bytes


_DNS_HINT: Final = "Check the spelling of the host, and whether this machine needs the hospital's DNS or VPN."


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _status_word(status: str) -> str:
    return status if status in {"Success", "PartialSuccess", "Failure"} else "with a status of its own"


def _refusal(error: RegistryError | None) -> tuple[str, str, RegistryError | None]:
    if error is None:
        return "it did not come, and the source says nothing about it", "Ask its operator what its log says.", None
    return error.message, error.hint or "Check that this source has the instance, and may give it to us.", error


def _tls_says(tls: Any) -> tuple[str, str]:
    """Version and certificate, and a hint where it expires soon."""
    certificate = tls.getpeercert() or {}
    if "notAfter" not in certificate:
        return f"{tls.version()}, and the certificate is not verified", "Verify it, or anybody may be the source."
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    says = f"{tls.version()}, certificate for {_names(certificate)}, valid until {expires:%Y-%m-%d}"
    soon = expires - datetime.now(UTC) < _EXPIRES_SOON
    return says, "It expires soon: remind the source's operator." if soon else ""


def _names(certificate: dict[str, Any]) -> str:
    names = [str(name) for _, name in certificate.get("subjectAltName", ())]
    shown = [name for name in names if _PRODUCT.fullmatch(name)]
    return ", ".join(shown[:3]) or "this host"
