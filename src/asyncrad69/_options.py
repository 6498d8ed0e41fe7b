"""
The settings of a retrieve: frozen, keyword-only, checked when made, with their units in their names.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, TypeVar

from ._errors import Rad69Error
from ._limits import Limits, whole
from ._references import valid_addressing, valid_uid
from ._soap_request import ACTIONS, Transaction
from ._transfer_syntaxes import AS_STORED, FORBIDDEN

if TYPE_CHECKING:
    from ._events import OnEvent

OnFailure: TypeAlias = Literal["finish", "stop", "report"]
Packaging: TypeAlias = Literal["mtom", "simple"]
Identity: TypeAlias = Literal["study", "instance", "content-id"]
InvalidInstances: TypeAlias = Literal["refuse", "deliver"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """
    How long to wait for what, in seconds; ``None`` waits for ever.

    None of them runs while the caller handles an instance: a slow consumer never trips one.

    Args:
        connect_s: Name resolution, TCP connect and TLS handshake.
        send_s: Each write of the request.
        first_byte_s: To the reply's head: connecting, sending and informational (1xx) replies included.
            Sources may fetch from tape or from another archive before they answer.
        idle_s: Between two reads of the reply's body.
        total_s: All waits of one exchange together. Off by default: a large series may take hours.
        min_bytes_per_s: What has to come per second, over a minute of waiting: a source that drips trips nothing else.
    """

    connect_s: float | None = 10.0
    send_s: float | None = 30.0
    first_byte_s: float | None = 120.0
    idle_s: float | None = 60.0
    total_s: float | None = None
    min_bytes_per_s: float | None = 1024.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value > 0:  # NaN is not, either
                raise ValueError(f"{each.name} is more than 0, or None to wait for ever; not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    How often to ask again for what has not come.

    Only what is still missing is asked for, in a new request with a new MessageID. An attempt that brings at
    least one instance does not count against its neighbours; one that brings none is split in two, so that an
    instance is blamed only when it was asked for alone.

    Args:
        attempts: How often an instance is asked for alone before it is given up; 1 never repeats. A source that is
            busy or cannot be reached blames none: the retrieve ends after some more.
        wait_initial_s: The longest wait before the first repetition, in seconds. It doubles each time, and the
            wait is drawn evenly between 0 and it (full jitter), so that many clients do not return together.
        wait_max_s: The longest wait between two requests, in seconds. A server's Retry-After counts up to it.
    """

    attempts: int = 3
    wait_initial_s: float = 0.5
    wait_max_s: float = 30.0

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, least=1)
        if not 0 <= self.wait_initial_s <= self.wait_max_s:
            raise ValueError("0 <= wait_initial_s <= wait_max_s, in seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    Everything a retrieve can be told. The client holds a set as its defaults; a call may override any.

    Args:
        repository_unique_id: Where a reference names no repository: the source's OID.
        home_community_id: Where a reference names no community: ``urn:oid:`` and an OID.
        transfer_syntaxes: The transfer syntaxes we can process: AS_STORED (default), LOSSLESS, UNCOMPRESSED or
            UIDs of your own. Some sources take the first that they hold, others the one they have stored.
        packaging: ``"mtom"`` (default) as the standard requires, or ``"simple"`` SOAP for a source that takes
            nothing else. With ``"mtom"`` a source that refuses it is asked once more in simple SOAP.
        concurrency: Requests in flight at once; peak memory is about twice as many instances. ``"auto"`` begins with
            2 and finds out, up to 16, what brings most; the report says what it found.
        instances_per_request: ``None`` asks per series; a number splits each series into batches of as many;
            ``0`` puts everything one repository holds into one request.
        on_failure: ``"finish"`` delivers all that can be had and then raises `IncompleteRetrieveError`;
            ``"stop"`` raises at the first instance that finally failed; ``"report"`` never raises for an
            incomplete retrieve: read the report.
        ignore: Error classes that do not make a retrieve incomplete; they stay in the report.
        retry: When to ask again; `Retry`.
        timeout: How long to wait; `Timeout`.
        limits: What to read at most; `Limits`.
        identity: What must agree before an instance is delivered: its SOP, series and study instance UIDs
            (``"study"``), its SOP Instance UID (``"instance"``), or only the Content-ID it came under
            (``"content-id"``), for a source that gives instances new UIDs.
        invalid_instances: ``"refuse"`` what is cut, or deliver it with its ``error`` set (``"deliver"``), for an
            archive that holds such files.
        spool_bytes: An instance beyond this size goes to a temporary file instead of memory, and `Instance.chunks`
            reads it from there; ``None`` never spools.
        transaction: ``"RAD-69"`` asks an imaging document source, or the gateway in front of several; ``"RAD-75"`` is
            what gateways ask each other, and every reference needs its home community id for it.
        to: The WS-Addressing To header where it differs from the URL, e.g. behind a reverse proxy.
        on_event: Told everything that happens, on the event loop; see `asyncrad69.Event`.
    """

    repository_unique_id: str | None = None
    home_community_id: str | None = None
    transfer_syntaxes: tuple[str, ...] = AS_STORED
    packaging: Packaging = "mtom"
    concurrency: int | Literal["auto"] = 4
    instances_per_request: int | None = None
    on_failure: OnFailure = "finish"
    ignore: tuple[type[Rad69Error], ...] = ()
    retry: Retry = field(default_factory=Retry)
    timeout: Timeout = field(default_factory=Timeout)
    limits: Limits = field(default_factory=Limits)
    identity: Identity = "study"
    invalid_instances: InvalidInstances = "refuse"
    spool_bytes: int | None = None
    transaction: Transaction = "RAD-69"
    to: str | None = None
    on_event: OnEvent | None = None

    def __post_init__(self) -> None:
        self._check_types()
        valid_addressing(self.repository_unique_id, self.home_community_id)
        object.__setattr__(self, "transfer_syntaxes", _transfer_syntaxes(self.transfer_syntaxes))
        object.__setattr__(self, "ignore", _error_classes(self.ignore))
        one_of("transaction", self.transaction, tuple(ACTIONS))
        one_of("packaging", self.packaging, ("mtom", "simple"))
        one_of("on_failure", self.on_failure, ("finish", "stop", "report"))
        one_of("identity", self.identity, ("study", "instance", "content-id"))
        one_of("invalid_instances", self.invalid_instances, ("refuse", "deliver"))
        if self.spool_bytes is not None:
            whole("spool_bytes", self.spool_bytes, otherwise="None to never spool")
        if self.concurrency != "auto":
            whole("concurrency", self.concurrency, least=1, otherwise="'auto'")
        if self.instances_per_request is not None:
            whole("instances_per_request", self.instances_per_request, otherwise="None for a request per series")

    def _check_types(self) -> None:
        """What annotations do not keep out: found later, it would end a retrieve in flight."""
        for name, value, cls in (
            ("timeout", self.timeout, Timeout),
            ("retry", self.retry, Retry),
            ("limits", self.limits, Limits),
        ):
            if not isinstance(value, cls):
                raise TypeError(f"{name} is a {cls.__name__}, e.g. {_EXAMPLES[cls]}; not {type(value).__name__}")
        if not isinstance(self.to, str | None):
            raise TypeError(f"to is an address; not {type(self.to).__name__}")
        if self.on_event is not None and (not callable(self.on_event) or inspect.iscoroutinefunction(self.on_event)):
            raise TypeError("on_event is a function that takes an event; it is called and not awaited")

    def override(self, changes: RetrieveOptions) -> Options:
        """
        A copy with *changes*, checked as a new one is.

        Raises:
            TypeError: One of them is no option, or of another type.
            ValueError: One of them makes no sense.
        """
        if unknown := changes.keys() - {*_NAMES}:
            name = min(unknown)
            similar = [each for each in _NAMES if name in each] or difflib.get_close_matches(name, _NAMES, 1)
            raise TypeError(f"there is no option {name!r}" + (f"; did you mean {similar[0]}?" if similar else ""))
        return replace(self, **changes) if changes else self


_NAMES = tuple(each.name for each in fields(Options))
_EXAMPLES = {Timeout: "Timeout(idle_s=10)", Retry: "Retry(attempts=5)", Limits: "Limits(max_part=2**30)"}


class RetrieveOptions(TypedDict, total=False):
    """The keywords that the client and each call take; their meaning is `Options`'."""

    repository_unique_id: str | None
    home_community_id: str | None
    transfer_syntaxes: tuple[str, ...]
    packaging: Packaging
    concurrency: int | Literal["auto"]
    instances_per_request: int | None
    on_failure: OnFailure
    ignore: tuple[type[Rad69Error], ...]
    retry: Retry
    timeout: Timeout
    limits: Limits
    identity: Identity
    invalid_instances: InvalidInstances
    spool_bytes: int | None
    transaction: Transaction
    to: str | None
    on_event: OnEvent | None


def one_of(name: str, value: T, allowed: tuple[T, ...]) -> T:
    """
    *value*, if it is allowed.

    Raises:
        ValueError: It is not; the message has the choices.
    """
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}; not {value!r}")
    return value


def _error_classes(given: object) -> tuple[type[Rad69Error], ...]:
    classes = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(cls, type) and issubclass(cls, Rad69Error) for cls in classes):
        raise TypeError("ignore takes subclasses of Rad69Error, e.g. ignore=(XDSMissingDocumentError,)")
    return classes


def _transfer_syntaxes(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError("transfer_syntaxes takes a list of UIDs, not one text")
    uids = tuple(dict.fromkeys(valid_uid(uid, "transfer_syntaxes") for uid in given))
    if not uids:
        # TransferSyntaxUIDList is mandatory and not empty; sources answer an empty one with a fault.
        raise ValueError("transfer_syntaxes is empty: pass AS_STORED, LOSSLESS, UNCOMPRESSED or a list of UIDs")
    if refused := FORBIDDEN.intersection(uids):
        raise ValueError(
            f"transfer_syntaxes: {', '.join(sorted(refused))} lets the source replace the pixel data by a URL (JPIP)"
        )
    return uids
