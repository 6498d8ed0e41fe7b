"""How a simulated source behaves: frozen, keyword-only, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypedDict, get_args

from asyncrad69._references import valid_uid

from ._access import tls_context
from ._faults import Fault, FaultPlanError
from ._profiles import Profile, profile_named

Framing: TypeAlias = Literal["chunked", "length"]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from ssl import SSLContext

    from ._access import Credentials, SecurityHeader

_REPOSITORY_UNIQUE_ID: Final = "1.2.3.4"
READ_SIZE: Final = 256 * 1024


class SourceOptions(TypedDict, total=False):
    """What `SimulatedSource` takes by keyword; see `Settings`."""

    repository_unique_id: str
    read_size: int
    profile: str
    framing: Framing
    faults: Sequence[Fault]
    seed: int
    auth: Credentials | None
    security_header: SecurityHeader
    certfile: str | PathLike[str] | None
    keyfile: str | PathLike[str] | None
    client_ca: str | PathLike[str] | None
    ssl_context: SSLContext | None
    latency_s: float
    latency_per_instance_s: float
    bytes_per_s: float | None
    max_concurrency: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    How a source behaves.

    Args:
        repository_unique_id: The source's OID, which a request must name.
        read_size: How much of an instance is read and sent at a time, in bytes.
        profile: The stack whose answers are imitated: ``"plain"``, ``"cxf"``, ``"metro"``, ``"axis2"``, ``"wcf"``,
            ``"gsoap"`` or ``"toolkit2"``.
        framing: ``"chunked"`` coding, or ``"length"`` for a Content-Length.
        faults: What goes wrong, and when. A request that breaks a rule is answered with its own fault.
        seed: What the rates of the faults are drawn from: with the same one, the same faults fall.
        auth: ``(user, password)`` for Basic, or a bearer token; a request without is answered with 401.
        security_header: Whether a request needs a wsse:Security, for example with a SAML assertion; or a function
            that judges the SOAP envelope, as it came, in bytes. What is missing or wrong is a SOAP fault.
        certfile: A PEM file with the certificate for TLS, and the key if that is not in *keyfile*.
        keyfile: A PEM file with the key.
        client_ca: A PEM file with the CA of the client certificates that mutual TLS asks for.
        ssl_context: All of TLS, in place of the three.
        latency_s: How long each request waits for its answer, in seconds.
        latency_per_instance_s: How much longer for each instance that is sent.
        bytes_per_s: How fast an answer is sent at most; ``None`` for no limit.
        max_concurrency: More requests at once than that are answered with 503 and a Retry-After of one second.

    Raises:
        FaultPlanError: A fault is none, or made by hand in a way that makes no sense.
        ValueError: One of them makes no sense.
        InvalidReferenceError: The repository's is no OID.
    """

    repository_unique_id: str = _REPOSITORY_UNIQUE_ID
    read_size: int = READ_SIZE
    profile: str = "plain"
    framing: Framing = "chunked"
    faults: Sequence[Fault] = ()
    seed: int = 0
    auth: Credentials | None = field(default=None, repr=False)
    security_header: SecurityHeader = False
    certfile: str | PathLike[str] | None = None
    keyfile: str | PathLike[str] | None = None
    client_ca: str | PathLike[str] | None = None
    ssl_context: SSLContext | None = None
    latency_s: float = 0.0
    latency_per_instance_s: float = 0.0
    bytes_per_s: float | None = None
    max_concurrency: int | None = None

    def __post_init__(self) -> None:
        valid_uid(self.repository_unique_id, "repository_unique_id")
        profile_named(self.profile)
        if self.read_size < 1:
            raise ValueError(f"read_size is at least 1 byte, not {self.read_size}")
        if self.framing not in get_args(Framing):
            raise ValueError(f"framing is one of {', '.join(get_args(Framing))}, not {self.framing!r}")

        for each in self.faults:
            if not isinstance(each, Fault):
                raise FaultPlanError(f"faults are Fault.cut(...), Fault.status(...) and so on, not {each!r}")

        self._check_limits()
        self._check_tls()

    def _check_limits(self) -> None:
        for name in ("latency_s", "latency_per_instance_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more, not {getattr(self, name)}")
        for name in ("bytes_per_s", "max_concurrency"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is more than 0, or None for no limit; not {value}")

    def _check_tls(self) -> None:
        if self.certfile is None and (self.keyfile is not None or self.client_ca is not None):
            raise ValueError("keyfile and client_ca need a certfile: without one there is no TLS")
        if self.certfile is not None and self.ssl_context is not None:
            raise ValueError("ssl_context is all of TLS: leave out certfile")

    def maybe_tls(self) -> SSLContext | None:
        """
        What connections are secured with, if they are.

        Raises:
            OSError: A file cannot be read or does not hold what it should.
        """
        if self.certfile is None:
            return self.ssl_context
        return tls_context(self.certfile, self.keyfile, self.client_ca)

    @property
    def shape(self) -> Profile:
        """The row of the profile."""
        return profile_named(self.profile)
