"""What a source does wrong, and when: the words of a plan. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self, Unpack


class FaultPlanError(ValueError):
    """A fault that makes no sense, said before the source is started."""


class When(TypedDict, total=False):
    """
    When a fault falls; always, if nothing is said.

    Attributes:
        rate: How likely it is, more than 0 and at most 1: for each request, or for each instance in it.
        nth: Only in this request to the source, counted from 1.
        times: At most so often; 1 is once.
        sop_instance_uid: Only where this instance is asked for.
    """

    rate: float
    nth: int
    times: int
    sop_instance_uid: str


_WHEN: Final = frozenset({"rate", "nth", "times", "sop_instance_uid"})

# Each kind with what it takes besides; those of the second group fall on single instances.
_OF_A_REQUEST: Final[Mapping[str, frozenset[str]]] = {
    "cut": frozenset({"after_bytes"}),
    "reset": frozenset({"after_bytes"}),
    "stall": frozenset({"seconds", "after_bytes"}),
    "status": frozenset({"http_status", "retry_after_s"}),
    "fault": frozenset({"code"}),
    "html_login": frozenset(),
    "wrong_relates_to": frozenset(),
    "extra": frozenset(),
}
_OF_AN_INSTANCE: Final[Mapping[str, frozenset[str]]] = {
    "missing": frozenset(),
    "refused": frozenset({"code"}),
    "duplicate": frozenset(),
    "corrupt": frozenset(),
    "short": frozenset(),
}
KINDS: Final[Mapping[str, frozenset[str]]] = {**_OF_A_REQUEST, **_OF_AN_INSTANCE}

_NEEDED: Final = frozenset({"seconds", "http_status", "code"})

# The words of a shell.
_SHORT: Final = {
    "after": "after_bytes",
    "s": "seconds",
    "status": "http_status",
    "retry_after": "retry_after_s",
    "uid": "sop_instance_uid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One thing that goes wrong; made by the methods named like it, each of which takes `When`, too.

    Raises:
        FaultPlanError: It makes no sense.
    """

    kind: str
    rate: float = 1.0
    nth: int | None = None
    times: int | None = None
    sop_instance_uid: str | None = None
    after_bytes: int | None = None
    seconds: float | None = None
    http_status: int | None = None
    retry_after_s: float | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultPlanError(f"there is no fault {self.kind!r}, but {', '.join(KINDS)}")
        for name in {each.name for each in fields(self)} - {"kind"} - _WHEN - KINDS[self.kind]:
            if getattr(self, name) is not None:
                raise FaultPlanError(f"{self.kind} takes no {name}")
        for name in _NEEDED & KINDS[self.kind]:
            if getattr(self, name) is None:
                raise FaultPlanError(f"{self.kind} needs {name}")
        for name, makes_sense, rule in self._rules():
            if getattr(self, name) is not None and not makes_sense:
                raise FaultPlanError(f"{self.kind}: {name} is {rule}, not {getattr(self, name)!r}")
        if self.nth is not None and self.times is not None:
            raise FaultPlanError(f"{self.kind}: nth names one request; leave out times")

    def _rules(self) -> tuple[tuple[str, bool, str], ...]:
        return (
            ("rate", 0 < self.rate <= 1, "more than 0 and at most 1"),
            ("nth", (self.nth or 0) >= 1, "1 or more"),
            ("times", (self.times or 0) >= 1, "1 or more"),
            ("after_bytes", (self.after_bytes or 0) >= 0, "0 or more"),
            ("seconds", (self.seconds or 0) > 0, "more than 0"),
            ("retry_after_s", (self.retry_after_s or 0) >= 0, "0 or more"),
            ("http_status", 400 <= (self.http_status or 0) <= 599, "from 400 to 599"),
            ("code", bool(self.code), "an error code"),
        )

    @property
    def of_an_instance(self) -> bool:
        """Whether it falls on single instances, rather than on the request."""
        return self.kind in _OF_AN_INSTANCE

    @classmethod
    def cut(cls, *, after_bytes: int | None = None, **when: Unpack[When]) -> Self:
        """The answer ends early, by default in its middle; in chunked coding as if that were all of it."""
        return cls(kind="cut", after_bytes=after_bytes, **when)

    @classmethod
    def reset(cls, *, after_bytes: int | None = None, **when: Unpack[When]) -> Self:
        """The connection is reset, by default before a byte of the answer. What was sent last may get lost."""
        return cls(kind="reset", after_bytes=after_bytes, **when)

    @classmethod
    def stall(cls, seconds: float, *, after_bytes: int | None = None, **when: Unpack[When]) -> Self:
        """A pause, by default before a byte of the answer."""
        return cls(kind="stall", seconds=seconds, after_bytes=after_bytes, **when)

    @classmethod
    def status(cls, http_status: int, *, retry_after_s: float | None = None, **when: Unpack[When]) -> Self:
        """An HTTP status in place of an answer, with a Retry-After if that is given (rounded up to seconds)."""
        return cls(kind="status", http_status=http_status, retry_after_s=retry_after_s, **when)

    @classmethod
    def fault(cls, code: str = "Receiver", **when: Unpack[When]) -> Self:
        """A SOAP fault: ``Receiver``, ``Sender``, or a code of WS-Addressing that becomes a Sender's subcode."""
        return cls(kind="fault", code=code, **when)

    @classmethod
    def html_login(cls, **when: Unpack[When]) -> Self:
        """A login page with status 200: the session has expired, or a proxy stands in between."""
        return cls(kind="html_login", **when)

    @classmethod
    def wrong_relates_to(cls, **when: Unpack[When]) -> Self:
        """The answer says that it belongs to another request."""
        return cls(kind="wrong_relates_to", **when)

    @classmethod
    def extra(cls, **when: Unpack[When]) -> Self:
        """An instance comes, too, that was not asked for; if the source holds one."""
        return cls(kind="extra", **when)

    @classmethod
    def missing(cls, **when: Unpack[When]) -> Self:
        """An instance does not come, and the answer does not say so."""
        return cls(kind="missing", **when)

    @classmethod
    def refused(cls, code: str = "XDSRepositoryError", **when: Unpack[When]) -> Self:
        """An instance does not come, and the answer says so with a RegistryError of that code."""
        return cls(kind="refused", code=code, **when)

    @classmethod
    def duplicate(cls, **when: Unpack[When]) -> Self:
        """An instance comes twice."""
        return cls(kind="duplicate", **when)

    @classmethod
    def corrupt(cls, **when: Unpack[When]) -> Self:
        """An instance comes without the prefix that says it is DICOM (PS3.10 7.1)."""
        return cls(kind="corrupt", **when)

    @classmethod
    def short(cls, **when: Unpack[When]) -> Self:
        """Of an instance comes the first half, in an answer that is whole otherwise."""
        return cls(kind="short", **when)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        A fault as a shell spells it: ``cut:rate=0.1,after=100000``, ``status:status=503,retry_after=1,times=2``.

        The names are those of the arguments, or short: ``after``, ``s``, ``status``, ``retry_after``, ``uid``.
        """
        kind, _, rest = text.partition(":")
        values: dict[str, Any] = dict(_named_value(kind, each) for each in rest.split(",") if each)
        if kind in {"fault", "refused"}:
            values.setdefault("code", "Receiver" if kind == "fault" else "XDSRepositoryError")
        return cls(kind=kind, **values)


def _named_value(kind: str, text: str) -> tuple[str, str | int | float]:
    short, equals, value = text.partition("=")
    name = _SHORT.get(short, short)
    if not equals or name not in _WHEN | KINDS.get(kind, frozenset()):
        raise FaultPlanError(
            f"{kind}: {text!r} is not one of {', '.join(sorted(_WHEN | KINDS.get(kind, frozenset())))}"
        )
    if name in {"sop_instance_uid", "code"}:
        return name, value
    number = float if name in {"rate", "seconds", "retry_after_s"} else int
    try:
        return name, number(value)
    except ValueError as exc:
        raise FaultPlanError(f"{kind}: {name} is a number, not {value!r}") from exc
