"""
What can go wrong, as a tree sorted by two questions: whose fault is it, and is it worth asking again.

    Rad69Error
    |- TransportError                 the network: nothing, or not everything, came
    |  |- ConnectionFailed            no connection was made
    |  |- TLSError                    the peer's certificate, or ours, was refused
    |  |- TransferTimeout             a wait was longer than allowed
    |  |  |- ConnectionTimedOut       no connection was made in time; a ConnectionFailed too
    |  |- ConnectionLost              the connection ended inside an exchange
    |- ProtocolError                  the peer broke a rule
    |  |- NotARad69Response           something else answered, e.g. a login page
    |  |- MultipartError              MIME framing
    |  |  |- TruncatedResponse        the reply ended too early
    |  |- LimitExceeded               the reply is larger than we are willing to read
    |  |- SoapError                   the SOAP envelope cannot be read, or answers another question
    |  |- InvalidInstanceError        not DICOM, cut, or not the instance it should be
    |  |  |- InstanceLimitExceeded    nested too deeply, or inflated too far; a LimitExceeded too
    |  |- QidoError                   a QIDO-RS answer cannot be read
    |- ServerError                    a well-formed "no"
    |  |- HTTPStatusRefused           an HTTP status that ends the exchange
    |  |  |- AuthenticationError      401, 403, 407
    |  |  |- RequestTooLarge          413
    |  |  |- ServerBusy               429, 503
    |  |- SoapFault                   a SOAP 1.1 or 1.2 fault
    |  |- RegistryError               an ebRS RegistryError, by its code
    |- CredentialsError               our own token, login or security header cannot be had
    |- StorageError                   an instance could not be written
    |- IncompleteRetrieveError        the sum of a retrieve that did not get everything

A caller's own mistake is a ``ValueError``, ``TypeError`` or ``RuntimeError`` and is raised before any I/O.
Messages hold UIDs, counts and codes; never a body, a credential or anything else a server wrote as free text.
All of them pickle.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from ._references import InstanceReference
    from ._report import Report


class Rad69Error(Exception):
    """
    The root of everything this library raises for what others did.

    Attributes:
        references: The instances concerned, as far as they are known.
        hint: What to do about it, a sentence; ``None`` where nothing general can be said.
        retryable: Whether asking again may help.
        fatal: Whether it concerns the whole endpoint, so that asking for other instances is pointless.
        asks_for_less: Whether a smaller request may succeed where this one did not.
        report: The report of the retrieve that this error ended, if it ended one.
    """

    retryable: bool = False
    fatal: bool = False
    asks_for_less: bool = False
    hint: str | None = None
    report: Report | None = None
    #: Attributes that hold what a server wrote. They stay in this process: a pickle goes to queues and logs.
    _free_texts: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, message: str, *, references: Iterable[InstanceReference] = (), hint: str | None = None) -> None:
        super().__init__(message)
        self.references: tuple[InstanceReference, ...] = tuple(references)
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        """What happened, without the hint."""
        return str(self.args[0]) if self.args else type(self).__name__

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args` alone, which a subclass's keywords may forbid. The state comes
        # third, to be set last: the report of a retrieve may hold the very error that ended it.
        state = {name: "" if name in self._free_texts else value for name, value in self.__dict__.items()}
        return _revive, (type(self), self.args), state


def _revive(cls: type[Rad69Error], args: tuple[Any, ...]) -> Rad69Error:
    return cls.__new__(cls, *args)


# --- the network ---------------------------------------------------------------------------------------


class TransportError(Rad69Error):
    """The network failed. Its ``__cause__`` is the HTTP library's own error, without the request's body."""

    retryable = True


class ConnectionFailed(TransportError):
    """No connection could be made: name resolution, refusal, an unreachable host, a proxy."""


class TLSError(TransportError):
    """The TLS handshake failed for a reason that repeating does not change."""

    retryable = False
    fatal = True


class TransferTimeout(TransportError):
    """
    A wait was longer than allowed.

    Attributes:
        phase: ``"connect"``, ``"send"``, ``"first byte"``, ``"idle"``, ``"throughput"`` or ``"total"``.
        limit_s: The limit, in seconds.
    """

    def __init__(self, message: str, *, phase: str = "", limit_s: float = 0.0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.phase = phase
        self.limit_s = limit_s


class ConnectionTimedOut(TransferTimeout, ConnectionFailed):
    """No connection was made in time: nothing answers, or a firewall drops what is sent."""


class ConnectionLost(TransportError):
    """The connection ended, or its HTTP framing broke, before the exchange was over."""


# --- the peer broke a rule -----------------------------------------------------------------------------


class ProtocolError(Rad69Error):
    """The reply breaks a rule of HTTP, MIME, SOAP, XOP or DICOM."""


class NotARad69Response(ProtocolError):
    """
    What answered does not speak RAD-69: a login page, a proxy's error page, an empty body.

    Attributes:
        content_type: The media type it declared, in lower case and without parameters.
        http_status: The HTTP status.
    """

    fatal = True
    _free_texts = frozenset(("content_type",))

    def __init__(self, message: str, *, content_type: str = "", http_status: int = 0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.content_type = content_type
        self.http_status = http_status


class MultipartError(ProtocolError):
    """The MIME framing of the reply is broken (RFC 2046, RFC 2387)."""

    retryable = True


class TruncatedResponse(MultipartError):
    """The reply ended before its closing delimiter, or without a part it promised."""


class LimitExceeded(ProtocolError):
    """
    The reply is larger than we are willing to read.

    Attributes:
        limit: The name of the limit, a field of `Limits`; ``"http_framing"`` for the head, a chunk's header or the
            trailers of the HTTP reply, which is not configurable.
        maximum: Its value.
    """

    def __init__(self, message: str, *, limit: str = "", maximum: int = 0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.limit = limit
        self.maximum = maximum
        if limit.startswith("max_") and self.hint is None:
            self.hint: str | None = f"If the source is right, raise it: limits=Limits({limit}=...)."
        # One instance may be too large, and its neighbours not. Whatever else is too long would be so again; but what
        # a source says when it failed is nothing it will say when it does not.
        self.asks_for_less: bool = limit == "max_part"
        self.retryable: bool = self.retryable or limit == "max_fault"


class SoapError(ProtocolError):
    """The SOAP envelope cannot be read, has no status, or answers another question."""

    retryable = True


class InvalidInstanceError(ProtocolError):
    """A document is not DICOM, is cut, or is not the instance it should be."""

    retryable = True


class InstanceLimitExceeded(InvalidInstanceError, LimitExceeded):
    """An instance nests deeper, or inflates to more, than we are willing to follow."""


class QidoError(ProtocolError):
    """An answer to a QIDO-RS search is not DICOM JSON (PS3.18 F), or lacks the UIDs of an instance."""


# --- a well-formed "no" --------------------------------------------------------------------------------


class ServerError(Rad69Error):
    """The source understood and refused."""


class HTTPStatusRefused(ServerError):
    """
    An HTTP status that ends the exchange.

    Attributes:
        http_status: The status.
        retry_after_s: What the server asked us to wait, in seconds; ``None`` where it did not.
    """

    def __init__(
        self, message: str, *, http_status: int = 0, retry_after_s: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        # 204 has lost the answer that the source meant to give: like an empty body, it may be there the next time.
        self.retryable: bool = self.retryable or http_status in {204, 408, 425, 500, 502, 504}
        self.fatal: bool = self.fatal or http_status in {404, 405, 410} or 300 <= http_status < 400


class AuthenticationError(HTTPStatusRefused):
    """401, 403 or 407: who we are is unknown, or not allowed to do this."""

    fatal = True
    hint: str | None = "Pass auth=, login=, security_header= or a client certificate (cert=) that the source accepts."


#: For 407, which may come instead of a connection or instead of an answer.
PROXY_HINT = "Put the name and the password in the proxy's URL: proxy='http://name:password@proxy.example:3128'."


class RequestTooLarge(HTTPStatusRefused):
    """413: the request is larger than the server reads."""

    retryable = True
    asks_for_less = True


class ServerBusy(HTTPStatusRefused):
    """429 or 503: the server asks for time."""

    retryable = True


# OASIS WSS SOAP Message Security 1.1, 12.
_SECURITY_FAULTS: Final = frozenset(
    (
        "FailedAuthentication",
        "FailedCheck",
        "InvalidSecurity",
        "InvalidSecurityToken",
        "MessageExpired",
        "SecurityTokenUnavailable",
        "UnsupportedAlgorithm",
        "UnsupportedSecurityToken",
    )
)


class SoapFault(ServerError):
    """
    A SOAP fault (SOAP 1.2 part 1, 5.4; SOAP 1.1, 4.4).

    Attributes:
        code: The local name of the fault code, e.g. ``"Sender"``.
        subcodes: The local names of its subcodes, outermost first.
        reason: The server's text. It is not in the message, nor in a pickle: a server may write anything there.
        http_status: The HTTP status it came with.
        refuses_us: Whether it is a fault of WS-Security: the security header is lacking, or not accepted.
    """

    _free_texts = frozenset(("reason",))

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        subcodes: tuple[str, ...] = (),
        reason: str = "",
        http_status: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.code = code
        self.subcodes = subcodes
        self.reason = reason
        self.http_status = http_status
        self.refuses_us = not _SECURITY_FAULTS.isdisjoint((code, *subcodes))
        self.fatal = self.fatal or self.refuses_us
        if self.refuses_us and not self.hint:
            self.hint = AuthenticationError.hint
        # SOAP 1.2 part 1, table 5: Receiver faults may succeed later, Sender faults will not as they are.
        self.retryable: bool = code in {"Receiver", "Server"}


class RegistryError(ServerError):
    """
    One RegistryError of the answer (ebRS 3.0, 2.1.6; ITI TF-3 4.2.4).

    Attributes:
        error_code: The server's code; empty where it is no code but free text.
        code_context: The server's text. It is not in the message, nor in a pickle: a server may write anything there.
        location: What the server says it concerns, for RAD-69 usually the SOP Instance UID; empty for free text.
        severity: ``"Error"`` or ``"Warning"``.
    """

    codes: ClassVar[tuple[str, ...]] = ()
    _free_texts = frozenset(("code_context",))

    def __init__(
        self,
        message: str,
        *,
        error_code: str = "",
        code_context: str = "",
        location: str = "",
        severity: str = "Error",
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.error_code = error_code
        self.code_context = code_context
        self.location = location
        self.severity = severity


class InstanceNotAvailable(RegistryError):
    """The source does not have the instance, or may not give it to us."""


_CHECK_REFERENCE: Final = "Check the reference: this source knows no such instance, or may not give it to us."


class XDSMissingDocumentError(InstanceNotAvailable):
    """No such instance at this source."""

    codes: ClassVar[tuple[str, ...]] = ("XDSMissingDocument",)
    hint: str | None = _CHECK_REFERENCE


class XDSDocumentUniqueIdError(InstanceNotAvailable):
    """The document unique id is not known, not available or not authorised."""

    codes: ClassVar[tuple[str, ...]] = ("XDSDocumentUniqueIdError",)
    hint: str | None = _CHECK_REFERENCE


class WadoInstanceUnknown(InstanceNotAvailable):
    """The study, series or instance is unknown or no longer available (PS3.18-2014b, 6.4.4)."""

    codes: ClassVar[tuple[str, ...]] = tuple(
        f"urn:dicom:wado:{code}" for code in ("0004", "0010", "0015", "0016", "0017")
    )
    hint: str | None = _CHECK_REFERENCE


class TransferSyntaxRefused(RegistryError):
    """The source cannot encode the instance in any of the transfer syntaxes asked for."""

    codes: ClassVar[tuple[str, ...]] = ("urn:dicom:wado:0006", "urn:dicom:wado:0007")
    hint: str | None = "Ask for more of them: transfer_syntaxes=AS_STORED names every one that pydicom knows."


class XDSUnknownRepositoryIdError(RegistryError):
    """The repository unique id is not this source's, or cannot be resolved."""

    codes: ClassVar[tuple[str, ...]] = ("XDSUnknownRepositoryId", "XDSIUnknownIdsUid")
    hint: str | None = (
        "Pass repository_unique_id=: the KOS manifest's RetrieveLocationUID, or ask the source's operator."
    )


class XDSHomeCommunityError(RegistryError):
    """The home community id is missing, unknown or its gateway cannot be reached."""

    codes: ClassVar[tuple[str, ...]] = ("XDSMissingHomeCommunityId", "XDSUnknownCommunity")
    hint: str | None = "Pass home_community_id=, in the form urn:oid:1.2.3."


class XDSBusyError(RegistryError):
    """The source, or what stands behind it, has no time or no answer now."""

    retryable = True
    codes: ClassVar[tuple[str, ...]] = (
        "XDSRepositoryBusy",
        "XDSRegistryBusy",
        "XDSUnavailableCommunity",
        "urn:dicom:wado:0003",
        "urn:dicom:wado:0014",
    )


class XDSTooMuchError(RegistryError):
    """The request is larger than the source can serve at once."""

    retryable = True
    asks_for_less = True
    codes: ClassVar[tuple[str, ...]] = (
        "XDSTooManyResults",
        "XDSRepositoryOutOfResources",
        "XDSRegistryOutOfResources",
        "urn:dicom:wado:0005",
    )


class XDSRequestError(RegistryError):
    """The source says the request itself is wrong."""

    codes: ClassVar[tuple[str, ...]] = ("XDSIRequestError", "urn:dicom:wado:0012", "urn:dicom:wado:0013")


class XDSRepositoryError(RegistryError):
    """An error inside the source."""

    codes: ClassVar[tuple[str, ...]] = ("XDSRepositoryError", "XDSRegistryError")


_BY_CODE: dict[str, type[RegistryError]] = {
    code: cls
    for parent in (RegistryError, InstanceNotAvailable)
    for cls in parent.__subclasses__()
    for code in cls.codes
}


def registry_error_class(error_code: str) -> type[RegistryError]:
    """The class for an ebRS error code; `RegistryError` itself for a code we do not know."""
    return _BY_CODE.get(error_code, RegistryError)


# --- ours ----------------------------------------------------------------------------------------------


class CredentialsError(Rad69Error):
    """
    What should say who we are cannot be had: a token, a login or a security header. Nothing was sent with it.

    Its ``__cause__`` is what the caller's own function raised, if it raised.
    """

    fatal = True


class StorageError(Rad69Error):
    """An instance could not be written. Its ``__cause__`` is the operating system's error."""

    fatal = True


#: What to do about a disk that takes nothing.
STORAGE_HINT: Final = "Free space, or check permissions; running the same again goes on."


def unwritable(file: str | PathLike[str], error: OSError, *, done: str = "written") -> StorageError:
    """The `StorageError` for what the operating system said about *file*: its name, or a path that the caller gave."""
    return StorageError(f"{file} cannot be {done}: {error.strerror}", hint=STORAGE_HINT)


@contextmanager
def storage_errors(file: str | PathLike[str], *, done: str = "written") -> Iterator[None]:
    """Raise what the operating system says about *file* as `unwritable` has it; *done* is what is done to it."""
    try:
        yield
    except OSError as exc:
        raise unwritable(file, exc, done=done) from exc


class ExistingFileError(StorageError):
    """The name of an instance's file is taken by a file with other content, which is never overwritten unasked."""

    fatal = False
    hint: str | None = "Choose another target, move the file away, or pass existing='overwrite'."


class IncompleteRetrieveError(Rad69Error):
    """
    A retrieve ended without some of the instances it asked for.

    Its ``__cause__`` is the first error that one of them ended with.

    Attributes:
        report: What became of every instance.
    """

    report: Report

    def __init__(self, message: str, *, report: Report, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.report = report


class InvalidReferenceError(ValueError):
    """What was given does not name an instance: a malformed UID, contradicting references."""


class NotAManifestError(InvalidReferenceError):
    """An image, a report or an empty selection was given where a KOS manifest is needed."""


class RejectionNoteError(InvalidReferenceError):
    """The manifest is a rejection note: what it lists is withdrawn, and retrieved only on request."""


class NonInstanceReferenceError(InvalidReferenceError):
    """A study or a series was given where RAD-69 needs every instance by name."""


E = TypeVar("E", bound=Exception)


def without_frames(error: E) -> E:
    """For errors that are kept: their frames would keep buffers, files and halves of instances for as long."""
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [cause for cause in (each.__cause__, each.__context__) if cause is not None and cause not in chain]
    return error
