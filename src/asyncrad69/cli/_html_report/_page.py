"""The page, from top to bottom: verdict, totals, what did not come, throughput, series."""

from __future__ import annotations

from html import escape
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from asyncrad69._version import __version__
from asyncrad69.cli._progress import size

from ._chart import elapsed, throughput_chart
from ._rows import ReportRow, SeriesSums, Sums, sums_of
from ._style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

# A browser lays out so many rows at once; more of them wait, closed, below each other.
_ROWS_OPEN: Final = 40
_ROWS_TOGETHER: Final = 500
_LOSSY_SERIES_OPEN: Final = 12
# Who lost more of them needs a table to work with and not a page to read.
_MAX_LOST_SHOWN: Final = 5_000


def html_report(
    rows: Iterable[ReportRow],
    *,
    title: str,
    subtitle: str = "",
    finished: datetime | None = None,
    started_at_s: float | None = None,
    thumbnails: Mapping[str, str] | None = None,
) -> str:
    """
    One self-contained HTML page: totals, what did not come, throughput over time, a row for each series.

    Every value is escaped, whoever wrote it. The page has UIDs, and pictures if *thumbnails* has some: it is to be
    kept like the images.

    Args:
        rows: Read once, in any order; series keep the order of their first row. What came is summed up and not kept.
        title: The heading.
        subtitle: A line below it, e.g. where the instances come from.
        finished: When the retrieve ended, shown below.
        started_at_s: When it began, on the clock of ``finished_at_s``; ``None`` for the first arrival.
        thumbnails: ``data:`` URIs of pictures by Series Instance UID.

    Returns:
        The page; it is written as UTF-8.
    """
    sums = sums_of(rows)
    return "".join(
        chain(
            _head(title, subtitle, finished),
            _verdict(sums),
            _totals(sums, started_at_s),
            _lost(sums),
            _throughput(sums, started_at_s),
            _series(sums, thumbnails or {}),
            _foot(),
        )
    )


def _head(title: str, subtitle: str, finished: datetime | None) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    # Whatever a value may be taken for: nothing runs, and nothing is loaded.
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">\n'
    )
    yield f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n"
    yield f"<h1>{escape(title)}</h1>\n"
    if subtitle:
        yield f"<p class=muted>{escape(subtitle)}</p>\n"
    if finished is not None:
        shown = finished.strftime("%Y-%m-%d %H:%M:%S %Z")
        yield f'<p class=muted>Finished <time datetime="{finished.isoformat()}">{escape(shown)}</time></p>\n'


def _verdict(sums: Sums) -> Iterator[str]:
    if sums.lost:
        yield (
            f'<p class="verdict bad">Incomplete: {sums.lost:,} of {_count(sums.asked, "instance")} did not come. '
            "Run it again to ask only for these.</p>\n"
        )
    elif pending := sums.outcomes["pending"]:
        yield f"<p class=verdict>Not finished: {pending:,} of {_count(sums.asked, 'instance')} are still to come.</p>\n"
    else:
        every = f"all {sums.asked:,} instances are here" if sums.asked != 1 else "the instance is here"
        yield f'<p class="verdict good">Complete: {every}.</p>\n'


def _totals(sums: Sums, started_at_s: float | None) -> Iterator[str]:
    yield "<dl class=totals>\n"
    yield _total("Received", f"{sums.outcomes['received']:,}", f"of {_count(sums.asked, 'instance')}")
    refused, silent = sums.outcomes["refused"], sums.outcomes["missing"]
    yield _total("Not received", f"{sums.lost:,}", f"{refused:,} refused, {silent:,} missing", bad=bool(sums.lost))
    yield _total("Series", f"{len(sums.series):,}", f"in {_count(sums.studies, 'study', 'studies')}")
    yield _total("Size", size(sums.size_bytes), f"{sums.size_bytes:,} bytes")
    if seconds := _seconds(sums, started_at_s):
        arrived = sum(size_bytes for _, size_bytes in sums.arrivals)
        yield _total("Time", elapsed(seconds), f"{size(arrived / seconds)}/s")
    if pending := sums.outcomes["pending"]:
        yield _total("Still to come", f"{pending:,}", "not asked for yet")
    if unexpected := sums.outcomes["unexpected"]:
        yield _total("Unexpected", f"{unexpected:,}", "came without being asked for")
    yield "</dl>\n"


def _total(name: str, value: str, note: str, *, bad: bool = False) -> str:
    return f"<div{' class=bad' if bad else ''}><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n"


def _seconds(sums: Sums, started_at_s: float | None) -> float:
    times = [time for time, _ in sums.arrivals]
    if not times:
        return 0.0
    return max(times) - (min(times) if started_at_s is None else started_at_s)


# --- what did not come


def _lost(sums: Sums) -> Iterator[str]:
    if not sums.lost:
        return
    yield '<section aria-labelledby="lost">\n<h2 id="lost">What did not come</h2>\n<div class=card>'
    yield from _table(("Reason", "Code of the source", "-Instances"), map(_reason_row, sums.reasons.most_common()))
    yield "</div>\n"
    yield from _lost_by_series(sums)
    yield "</section>\n"


def _lost_by_series(sums: Sums) -> Iterator[str]:
    lossy = [series for series in sums.series if series.lost]
    many = len(lossy) > _LOSSY_SERIES_OPEN
    if many:
        yield f"<details class=group><summary>Instances of {len(lossy):,} series, one by one</summary>\n"
    left = _MAX_LOST_SHOWN
    for series in lossy:
        if left > 0:
            yield from _lost_of_series(series, left, is_open=sums.lost <= _ROWS_OPEN)
        left -= len(series.lost)
    if left < 0:
        yield f"<p class=muted>The first {_MAX_LOST_SHOWN:,} of {sums.lost:,}; the JSON report has all of them.</p>\n"
    if many:
        yield "</details>\n"


def _reason_row(reason: tuple[tuple[str, str], int]) -> str:
    (error_class, code), count = reason
    return (
        f"<tr><th scope=row>{_why(error_class)}</th><td>{escape(code) or 'none'}</td><td class=n>{count:,}</td></tr>\n"
    )


def _why(error_class: str) -> str:
    return escape(error_class) or "the source said nothing"


def _lost_of_series(series: SeriesSums, at_most: int, *, is_open: bool) -> Iterator[str]:
    yield f'<details class="card lost"{" open" if is_open else ""}>'
    yield f"<summary>{_count(len(series.lost), 'instance')} of series "
    yield f"<span class=uid>{escape(series.series_instance_uid)}</span></summary>\n"
    rows = map(_lost_row, islice(series.lost, at_most))
    yield from _table(("SOP Instance UID", "Outcome", "Reason"), rows)
    yield "</details>\n"


def _lost_row(row: ReportRow) -> str:
    why = _why(row.error_class) + (f" ({escape(row.code)})" if row.code else "")
    path = f"<span class=muted>{escape(row.path)}</span>" if row.path else ""
    return (
        f"<tr><th scope=row class=uid>{escape(row.sop_instance_uid)}{path}</th>"
        f"<td>{escape(row.outcome)}</td><td>{why}</td></tr>\n"
    )


# --- what came


def _throughput(sums: Sums, started_at_s: float | None) -> Iterator[str]:
    if chart := throughput_chart(sums.arrivals, started_at_s):
        yield '<section aria-labelledby="throughput">\n<h2 id="throughput">Throughput</h2>\n'
        yield f'<div class="card chart">{chart}</div>\n</section>\n'


def _series(sums: Sums, thumbnails: Mapping[str, str]) -> Iterator[str]:
    if not sums.series:
        return
    yield '<section aria-labelledby="series">\n<h2 id="series">Series</h2>\n'
    every = len(sums.series)
    for first in range(0, every, _ROWS_TOGETHER):
        together = sums.series[first : first + _ROWS_TOGETHER]
        is_open = " open" if every <= _ROWS_OPEN else ""
        yield f"<details class=card{is_open}><summary>{_span(first, len(together), every)}{_losses(together)}</summary>"
        yield from _series_table(together, thumbnails)
        yield "</details>\n"
    yield "</section>\n"


def _span(first: int, count: int, every: int) -> str:
    return _count(every, "series", "series") if count == every else f"Series {first + 1:,} to {first + count:,}"


def _losses(together: list[SeriesSums]) -> str:
    lossy = sum(bool(series.lost) for series in together)
    pending = sum(bool(series.outcomes["pending"]) for series in together)
    parts = [f"<span class=bad-text>{lossy:,} incomplete</span>"] if lossy else []
    parts += [f"{pending:,} not finished"] if pending else []
    return ", " + (", ".join(parts) or "all complete")


def _series_table(together: list[SeriesSums], thumbnails: Mapping[str, str]) -> Iterator[str]:
    pictures = any(series.series_instance_uid in thumbnails for series in together)
    columns = ("Series, and its study", "-Received", "-Not received", "-Size")
    rows = (_series_row(each, thumbnails.get(each.series_instance_uid) if pictures else "") for each in together)
    yield from _table((("Picture", *columns) if pictures else columns), rows)


def _series_row(series: SeriesSums, picture: str | None) -> str:
    """*picture* is empty in a table without pictures, and ``None`` in one with pictures where this one has none."""
    lost = len(series.lost)
    shown = f'<img src="{escape(picture)}" alt="One instance of the series">' if picture else ""
    return (
        f"<tr>{'' if picture == '' else f'<td class=thumb>{shown}</td>'}"
        f"<th scope=row class=uid>{escape(series.series_instance_uid)}"
        f"<span class=muted>{escape(series.study_instance_uid)}</span></th>"
        f"<td class=n>{series.outcomes['received']:,} of {series.asked:,}</td>"
        f'<td class="n{" bad-text" if lost else ""}">{lost:,}</td><td class=n>{size(series.size_bytes)}</td></tr>\n'
    )


# --- parts


def _table(columns: tuple[str, ...], rows: Iterable[str]) -> Iterator[str]:
    """A column whose name begins with ``-`` has numbers."""
    yield "<table><thead><tr>"
    for name in columns:
        number = " class=n" if name.startswith("-") else ""
        yield f"<th scope=col{number}>{name.removeprefix('-')}</th>"
    yield "</tr></thead><tbody>\n"
    yield from rows
    yield "</tbody></table>"


def _count(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _foot() -> Iterator[str]:
    yield (
        f"<footer><p class=muted>Made by rad69, asyncrad69 {__version__}. UIDs identify studies, and through them "
        "patients: keep this page as you keep the images.</p></footer>\n</main>\n</body>\n</html>\n"
    )
