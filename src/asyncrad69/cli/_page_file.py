"""``--report-html``: what became of a retrieve, as a page in a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from asyncrad69 import InstanceVerified, RegistryError

from ._html_report import ReportRow, html_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from asyncrad69 import Event, Report, Row
    from asyncrad69._events import OnEvent

    from ._output import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """The options below, as they were given."""

    report_html: Path | None
    thumbnails: bool

    def maybe_page(self, url: str) -> Page | None:
        """The page to write, checked before anything is asked for; ``None`` where none is wanted."""
        if self.thumbnails:
            if self.report_html is None:
                raise click.UsageError("--thumbnails are the pictures of a --report-html")
            if find_spec("numpy") is None or find_spec("PIL") is None:
                raise click.UsageError('--thumbnails need numpy and pillow: pip install "asyncrad69[cli,report]"')
        if self.report_html is None:
            return None
        if not self.report_html.parent.is_dir():
            raise click.BadParameter(f"there is no folder {self.report_html.parent}", param_hint="--report-html")
        return Page(self.report_html, url, thumbnails=self.thumbnails)


PAGE_OPTIONS: Final = (
    click.option(
        "--report-html",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the report as a page to read, print and keep.",
    ),
    click.option("--thumbnails", is_flag=True, help="With a picture of each series, which shows the patient."),
)


class Page:
    """
    A page that is not yet written.

    Args:
        path: Its file.
        url: The endpoint.
        thumbnails: Whether with pictures.
    """

    def __init__(self, path: Path, url: str, *, thumbnails: bool) -> None:
        self._path = path
        self._url = url
        self._thumbnails = thumbnails
        self._started_at_s = monotonic()
        self._times: dict[str, float] = {}

    def watching(self, on_event: OnEvent) -> OnEvent:
        """*on_event*, and when each instance came is noted."""

        def note(event: Event) -> None:
            if isinstance(event, InstanceVerified):
                self._times[event.reference.sop_instance_uid] = monotonic()
            on_event(event)

        return note

    def written(self, report: Report, target: str | PathLike[str], output: Output) -> bool:
        """Write the page; ``False`` where that cannot be done, and *output* has said so."""
        rows = list(self._rows(report))
        page = html_report(
            rows,
            title=f"Retrieve from {urlsplit(self._url).hostname}",
            subtitle=f"{self._url.partition('?')[0]} to {target}",
            finished=datetime.now(UTC),
            started_at_s=self._started_at_s if self._times else None,
            thumbnails=_pictures(rows) if self._thumbnails else None,
        )
        try:
            self._path.write_text(page, encoding="utf-8")
        except OSError as exc:
            output.error(f"{self._path} cannot be written: {exc.strerror}", "The instances are not concerned.")
            return False
        return True

    def _rows(self, report: Report) -> Iterator[ReportRow]:
        for row in report.rows:
            yield self._row(row)

    def _row(self, row: Row) -> ReportRow:
        reference, error = row.reference, row.error
        return ReportRow(
            study_instance_uid=reference.study_instance_uid,
            series_instance_uid=reference.series_instance_uid,
            sop_instance_uid=reference.sop_instance_uid,
            outcome="received" if row.state == "delivered" else row.state,
            size_bytes=row.size_bytes,
            finished_at_s=self._times.get(reference.sop_instance_uid) if row.state == "delivered" else None,
            error_class=type(error).__name__ if error else "",
            code=error.error_code if isinstance(error, RegistryError) else "",
            path=row.path,
        )


def _pictures(rows: list[ReportRow]) -> dict[str, str]:
    from ._thumbnails import thumbnails  # noqa: PLC0415 - not to be had without the extra

    return thumbnails(rows)
