"""What a command says: its result on stdout, everything else on stderr; and in whose words."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from asyncrad69 import IncompleteRetrieveError

from ._failures import ExitCode, incomplete_exit_code, without_uids
from ._progress import Bar, Lines, Log, Silent, Tally, duration, size, stderr_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from asyncrad69 import Rad69Error, Report

# Reasons are few, unless each names another UID and --log-identifiers shows them.
_MAX_REASONS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How much is said, and in which form."""

    as_json: bool
    quiet: bool
    debug: bool
    log_format: str | None
    log_identifiers: bool

    def display(self, tally: Tally) -> Silent:
        """What shows a retrieve while it runs."""
        if self.log_format or self.debug:
            return self._log(tally)
        if self.quiet:
            return Silent(tally)
        console = Console(stderr=True)
        if console.is_terminal and not console.is_dumb_terminal:
            return Bar(tally, console)
        return Lines(tally, stderr_line)

    def say(self, text: str) -> None:
        """A line for people, between the commands and their results."""
        if not self.quiet:
            self._line("info", text)

    def error(self, message: str, hint: str | None = None) -> None:
        """Why the command failed, and what to do."""
        self._line("error", f"rad69: {self._without_uids(message)}", hint=self._without_uids(in_options(hint or "")))

    def result(self, report: Report | None, target: str | PathLike[str], error: Rad69Error | None = None) -> None:
        """The report, on stdout; and in JSON what ended the retrieve early, even before there was a report."""
        if self.as_json:
            facts = report.to_dict() if report else {"complete": False}
            click.echo(json.dumps(facts | _error_dict(error), indent=2))
        elif report and _tells_more(report, error) and not self.quiet:
            click.echo("\n".join(summary(report, target)))

    def _line(self, level: str, text: str, *, hint: str = "") -> None:
        if self.log_format == "json":
            facts = {"hint": hint} if hint else {}
            self._log(Tally(0)).record(level, text, **facts)
        else:
            stderr_line(f"{text}\n  {hint}" if hint else text)

    def _log(self, tally: Tally) -> Log:
        return Log(
            tally,
            stderr_line,
            as_json=self.log_format == "json",
            identifiers=self.log_identifiers,
            errors_only=self.quiet,
        )

    def _without_uids(self, text: str) -> str:
        return text if self.log_identifiers else without_uids(text)


OUTPUT_OPTIONS: Final = (
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("--debug", is_flag=True, help="Log every request, and show tracebacks."),
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), help="Log requests, retries and failures to stderr."
    ),
    click.option("--log-identifiers", is_flag=True, help="Let UIDs into what goes to stderr."),
)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What the library calls the caller's own mistake is a mistake in the command line."""
    try:
        yield
    except (ValueError, TypeError) as exc:
        raise click.UsageError(in_options(str(exc))) from exc


def _tells_more(report: Report, error: Rad69Error | None) -> bool:
    """Whether the report says more than the error alone: not where nothing came, for a reason with an exit code."""
    if error is None or report.delivered:
        return True
    return isinstance(error, IncompleteRetrieveError) and incomplete_exit_code(report) is ExitCode.INCOMPLETE


def summary(report: Report, target: str | PathLike[str]) -> Iterator[str]:
    """The report for people."""
    counts = report.to_dict()
    asked, delivered = len(report.rows), len(report.delivered)
    yield _field("complete" if report.complete else "INCOMPLETE", f"{delivered:,} of {asked:,} instances")
    yield _field("series", f"{counts['series']:,} in {_plural(counts['studies'], 'study', 'studies')}")
    yield _field("bytes", f"{report.delivered_bytes:,} ({size(report.delivered_bytes)})")
    yield _field("received", f"{_received(report)}, {_plural(report.requests, 'request')}")
    yield _field("refused", f"{len(report.refused):,}")
    yield _field("missing", f"{len(report.missing):,}")
    yield from _reasons(report)
    yield from (_field("note", f"{remark} ({count} x)") for remark, count in sorted(report.remarks.items()))
    yield _field("files", str(target))


def _field(name: str, value: str) -> str:
    return f"{name:<12}{value}"


def _received(report: Report) -> str:
    took = f"{report.seconds:.2f} s" if report.seconds < 60 else duration(report.seconds)
    return f"{size(report.received_bytes)} in {took}, {report.bytes_per_second / 1e6:.1f} MB/s"


def _reasons(report: Report) -> Iterator[str]:
    lost = [row for row in report.rows if row.state != "delivered"]
    reasons = Counter(without_uids(row.error.message) if row.error else "the source said nothing" for row in lost)
    for reason, count in reasons.most_common(_MAX_REASONS):
        yield _field("", f"{count:,} x {reason}")
    if len(reasons) > _MAX_REASONS:
        yield _field("", f"and {len(reasons) - _MAX_REASONS} other reasons; --json has them all")


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _error_dict(error: Rad69Error | None) -> dict[str, Any]:
    if error is None:
        return {}
    return {"error": {"class": type(error).__name__, "message": error.message, "hint": in_options(error.hint or "")}}


# The library's hints name keywords; here they have other names. The longest first.
_OPTIONS: Final = (
    (
        "auth=, login=, security_header= or a client certificate (cert=)",
        "--user, --bearer-env, --header, --security-header or --client-cert",
    ),
    ("cert=(certificate, key), two PEM files, or your own ssl_context=", "--client-cert and --client-key"),
    ("names, or 'system'", "names, or --system-trust"),
    ("function given as security_header=", "--security-header"),
    ("timeout=Timeout(first_byte_s=..., idle_s=...)", "--timeout-first-byte, --timeout-idle"),
    ("transfer_syntaxes=AS_STORED", "--transfer-syntax as-stored"),
    ("identity='instance' or 'content-id'", "--identity instance or --identity content-id"),
    ("verify='/path/to/ca.pem'", "--ca-file /path/to/ca.pem"),
    ("auth=(user, password)", "--user"),
    ("rejected=True", "--rejected"),
    ("allow_plaintext=True", "--allow-plaintext"),
    ("existing='overwrite'", "--existing overwrite"),
    ("packaging='simple'", "--packaging simple"),
    ("proxy='http://name:password@proxy.example:3128'", "--proxy, or better in RAD69_PROXY"),
    ("max_bytes_per_s is more than 0, or None for no limit", "--max-rate is more than 0"),
    ("document_unique_id:", "--document:"),
    ("qido_url", "--qido-url"),
    ("repository_unique_id=", "--repository"),
    ("home_community_id=", "--home-community"),
    ("repository_unique_id:", "--repository:"),
    ("home_community_id:", "--home-community:"),
)


def in_options(text: str) -> str:
    """*text* with the command line's names in place of the library's."""
    for keyword, option in _OPTIONS:
        text = text.replace(keyword, option)
    return text
