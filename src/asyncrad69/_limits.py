"""How much of what a source sends is read. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What we are willing to read, in bytes unless the name says otherwise.

    A source within the standard stays far below them; they keep a broken or hostile one from filling memory.

    Args:
        max_preamble: Before the first delimiter (RFC 2046 5.1.1 allows any).
        max_header_line: One header line of a part, continuations included.
        max_header_count: Header lines of one part.
        max_headers: All header lines of one part together.
        max_parts: Parts of one reply; ``None`` is twice the instances asked for, and 16.
        max_boundary: The boundary parameter (RFC 2046 5.1.1 says 70; nobody checks).
        max_root: The root part, or a reply that is one XML document. A source may put the images inside the
            XML (ITI TF-2 appendix V.8.2), so it is as large as a series.
        max_fault: The same, where the HTTP status says that it can only be a fault.
        max_xml_depth: Elements of the SOAP envelope in elements. A fault's detail nests deepest; an answer has 7.
        max_part: One instance, as it comes; if it is deflated, inflated too.
        max_dicom_depth: Sequences in sequences. Enhanced objects and structured reports stay below 15.
        max_dicom_inflation: The ratio of a deflated data set (PS3.5 A.5) to its compressed form.
        max_inflation: The ratio of a body to its compressed form, where a proxy compressed it unasked.
    """

    max_preamble: int = 64 * KIB
    max_header_line: int = 16 * KIB
    max_header_count: int = 64
    max_headers: int = 64 * KIB
    max_parts: int | None = None
    max_boundary: int = 1024
    max_root: int = 512 * MIB
    max_fault: int = 64 * KIB
    max_xml_depth: int = 64
    max_part: int = 4096 * MIB
    max_dicom_depth: int = 32
    max_dicom_inflation: int = 200
    max_inflation: int = 200

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None or each.name != "max_parts":
                whole(each.name, value)

    def of_reply(self, asked: int) -> Limits:
        """Those of the reply to a request for *asked* instances: the number of its parts has one, too."""
        return self if self.max_parts is not None else replace(self, max_parts=2 * asked + 16)


def whole(name: str, value: object, *, least: int = 0, otherwise: str = "") -> None:
    """
    Check that *value* is a whole number.

    Raises:
        TypeError: It is none.
        ValueError: It is less than *least*.
    """
    what = f"{name} is a whole number" + (f", or {otherwise}" if otherwise else "")
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what}; not {value!r}")
    if value < least:
        raise ValueError(f"{what}, of at least {least}; not {value}")
