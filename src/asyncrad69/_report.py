"""What became of every instance that was asked for."""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._errors import IncompleteRetrieveError, Rad69Error, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._references import InstanceReference

State: TypeAlias = Literal["delivered", "refused", "missing"]


# Messages may name an instance each; the rows have them all.
_SHOWN_REASONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One instance that was asked for.

    Attributes:
        reference: Which one.
        state: ``"delivered"``; ``"refused"`` by the source, with its error; or ``"missing"``: it did not come, and
            the source did not say why.
        error: Why it is refused or missing, where that is known. A delivered instance has one only where
            ``invalid_instances="deliver"`` let it through.
        attempts: In how many requests it was asked for.
        size_bytes: Its size as it came.
        transfer_syntax_uid: As it came; empty if it did not come.
        path: The file it was written to, for `download`.
        ignored: Its error is one that the caller chose to ignore.
    """

    reference: InstanceReference
    state: State
    error: Rad69Error | None = None
    attempts: int = 0
    size_bytes: int = 0
    transfer_syntax_uid: str = ""
    path: str | None = None
    ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    The sum of a retrieve: every asked instance in exactly one of three columns.

    Attributes:
        rows: One per instance, in the order asked.
        seconds: From the first request to now, or to the end.
        requests: Requests sent, repetitions included.
        received_bytes: Bytes of reply bodies, repetitions included.
        answers: How many requests ended how: the manifests' statuses, or an error's class name.
        remarks: Deviations that were tolerated, with how often each was seen.
    """

    rows: tuple[Row, ...]
    seconds: float = 0.0
    requests: int = 0
    received_bytes: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[InstanceReference, ...]:
        """Every instance asked for, duplicates collapsed, in the order asked."""
        return tuple(row.reference for row in self.rows)

    @property
    def delivered(self) -> tuple[Row, ...]:
        """What came, whole, and was handed over."""
        return self._in("delivered")

    @property
    def refused(self) -> tuple[Row, ...]:
        """What the source said it would not send."""
        return self._in("refused")

    @property
    def missing(self) -> tuple[Row, ...]:
        """What did not come, without the source saying so."""
        return self._in("missing")

    @property
    def complete(self) -> bool:
        """Whether everything came, but for what the caller chose to ignore."""
        return all(row.state == "delivered" or row.ignored for row in self.rows)

    @property
    def delivered_bytes(self) -> int:
        """The size of what was delivered."""
        return sum(row.size_bytes for row in self.delivered)

    @property
    def bytes_per_second(self) -> float:
        """What came over the network, per second of the whole retrieve."""
        return self.received_bytes / self.seconds if self.seconds else 0.0

    def raise_for_incomplete(self) -> None:
        """
        Do nothing if the retrieve is complete.

        Raises:
            IncompleteRetrieveError: It is not. Its cause is the first error that an instance ended with.
        """
        if self.complete:
            return
        lost = [row for row in self.rows if row.state != "delivered" and not row.ignored]
        cause = next((row.error for row in lost if row.error), None)
        raise IncompleteRetrieveError(
            f"{len(self.delivered)} of {len(self.rows)} instances arrived{_reasons(lost)}",
            report=self,
            references=[row.reference for row in lost],
            hint="Its report lists them: report.refused, report.missing.",
        ) from cause

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        return {
            "complete": self.complete,
            "instances": self._counts(),
            "studies": len({row.reference.study_instance_uid for row in self.rows}),
            "series": self._series_count(),
            "delivered_bytes": self.delivered_bytes,
            "received_bytes": self.received_bytes,
            "seconds": round(self.seconds, 6),
            "bytes_per_second": round(self.bytes_per_second),
            "requests": self.requests,
            "answers": self.answers,
            "remarks": self.remarks,
            "rows": [_row_dict(row) for row in self.rows],
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        counts = self._counts()
        lines = [
            (
                f"{counts['delivered']} of {counts['asked']} instances delivered, {counts['refused']} refused, "
                f"{counts['missing']} missing"
            ),
            (
                f"{self._series_count()} series, {self.delivered_bytes:,} bytes in {self.seconds:.2f} s, "
                f"{self.bytes_per_second / 1e6:.1f} MB/s, {self.requests} requests"
            ),
        ]
        reasons = _reason_counts(self._lost())
        lines += [f"{count} x {reason}" for reason, count in reasons.most_common(_SHOWN_REASONS)]
        if len(reasons) > _SHOWN_REASONS:
            lines.append(f"and {len(reasons) - _SHOWN_REASONS} more reasons; each row has its own")
        lines += [f"note: {remark} ({count} x)" for remark, count in sorted(self.remarks.items())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: a row per series, failures first."""
        series: dict[str, Counter[str]] = {}
        for row in self.rows:
            counts = series.setdefault(row.reference.series_instance_uid, Counter())
            counts[row.state] += 1
            counts["bytes"] += row.size_bytes
        ordered = sorted(series.items(), key=lambda item: -(item[1]["refused"] + item[1]["missing"]))
        body = "".join(_html_row(uid, counts) for uid, counts in ordered)
        head = "".join(f"<th>{name}</th>" for name in ("series", "delivered", "refused", "missing", "MB"))
        summary = html.escape(str(self)).replace("\n", "<br>")
        return f"<p>{summary}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _in(self, state: State) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.state == state)

    def _lost(self) -> list[Row]:
        return [row for row in self.rows if row.state != "delivered"]

    def _counts(self) -> dict[str, int]:
        states = Counter(row.state for row in self.rows)
        counts = {state: states[state] for state in ("delivered", "refused", "missing")}
        return {"asked": len(self.rows), **counts, "ignored": sum(row.ignored for row in self.rows)}

    def _series_count(self) -> int:
        return len({(row.reference.study_instance_uid, row.reference.series_instance_uid) for row in self.rows})


def _html_row(series_uid: str, counts: Counter[str]) -> str:
    cells = [series_uid, counts["delivered"], counts["refused"], counts["missing"], f"{counts['bytes'] / 1e6:.1f}"]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _row_dict(row: Row) -> dict[str, Any]:
    reference = row.reference
    values: dict[str, Any] = {
        "study_instance_uid": reference.study_instance_uid,
        "series_instance_uid": reference.series_instance_uid,
        "sop_instance_uid": reference.sop_instance_uid,
        "repository_unique_id": reference.repository_unique_id,
        "state": row.state,
        "attempts": row.attempts,
        "size_bytes": row.size_bytes,
        "transfer_syntax_uid": row.transfer_syntax_uid,
    }
    if row.path is not None:
        values["path"] = row.path
    if row.error is not None:
        values["error"] = {"class": type(row.error).__name__, "message": row.error.message}
    if isinstance(row.error, RegistryError):
        values["error"]["code"] = row.error.error_code
    if row.ignored:
        values["ignored"] = True
    return values


def _reason_counts(rows: Iterable[Row]) -> Counter[str]:
    return Counter(_reason(row) for row in rows)


def _reason(row: Row) -> str:
    return row.error.message if row.error else "the source said nothing about it"


def _reasons(rows: list[Row]) -> str:
    """The most frequent reasons, for one line."""
    common = _reason_counts(rows).most_common(3)
    return "; " + ", ".join(f"{count} x {reason}" for reason, count in common) if common else ""
