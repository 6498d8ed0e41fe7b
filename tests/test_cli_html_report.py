"""The report as a page: what it says, that it is sound HTML, and that a browser shows it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from asyncrad69.cli._app import app
from asyncrad69.cli._html_report import Outcome, ReportRow, html_report
from asyncrad69.cli._html_report._chart import throughput_chart
from asyncrad69.cli._thumbnails import thumbnails
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIL = "<script>alert('1')</script>\"&"
VOID = {"meta", "img", "br", "line", "polygon", "polyline"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def row(number: int, outcome: Outcome = "received", *, series: int = 1, **kwargs: Any) -> ReportRow:
    return ReportRow(
        study_instance_uid="1.2.3",
        series_instance_uid=f"1.2.3.{series}",
        sop_instance_uid=f"1.2.3.{series}.{number}",
        outcome=outcome,
        **kwargs,
    )


class Page(HTMLParser):
    """A page's words, and whether each element is closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(f"{word} " for word in self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=1) as running:
        yield running


@pytest.fixture
def table(source: SimulatedSource, tmp_path: Path) -> Path:
    path = tmp_path / "references.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study uid", "series uid", "instance uid", "repository"])
        for each in source.references():
            uids = each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid
            writer.writerow([*uids, each.repository_unique_id])
    return path


def rad69(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69")


# --- what it says


def test_totals_of_every_outcome() -> None:
    """Each asked instance is in one of three counts; what came unasked is in none of them."""
    rows = [
        row(1, size_bytes=1500),
        row(2, "refused", error_class="XDSMissingDocumentError", code="XDSMissingDocument"),
        row(3, "missing"),
        row(4, "unexpected", size_bytes=500),
    ]
    text = Page(html_report(rows, title="A job")).text
    assert "Incomplete: 2 of 3 instances did not come" in text
    assert "Received 1 of 3 instances" in text
    assert "Not received 2 1 refused, 1 missing" in text
    assert "Unexpected 1" in text
    assert "2.0 kB" in text
    assert "XDSMissingDocumentError (XDSMissingDocument)" in text
    assert "missing the source said nothing" in text


def test_a_job_that_is_not_finished() -> None:
    """What a job has not come to yet is neither here nor lost, and is not called complete."""
    text = Page(html_report([row(1), row(2, "pending"), row(3, "pending")], title="A job")).text
    assert "Not finished: 2 of 3 instances are still to come" in text
    assert "Not received 0 0 refused, 0 missing" in text
    assert "Still to come 2" in text
    assert "1 series, 1 not finished" in text
    assert "Complete" not in text


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        pytest.param([], "Complete: all 0 instances", id="none"),
        pytest.param([row(1)], "Complete: the instance is here", id="one"),
        pytest.param([row(1), row(2)], "Complete: all 2 instances", id="two"),
        pytest.param([row(1, "missing")], "Incomplete: 1 of 1 instance did", id="nothing"),
    ],
)
def test_verdict(rows: list[ReportRow], verdict: str) -> None:
    """The page begins with whether anything is lost, and a retrieve of nothing is complete."""
    assert verdict in Page(html_report(rows, title="A job")).text


def test_series_with_losses_come_first() -> None:
    """The eye meets what needs work before what is well."""
    rows = [row(1, series=1), row(1, series=2), row(2, "missing", series=2)]
    text = Page(html_report(rows, title="A job")).text
    assert text.index("1 of 2 1") < text.index("1 of 1 0")


def test_every_value_is_escaped() -> None:
    """No text of the caller or the source becomes markup, wherever it stands."""
    rows = [
        ReportRow(
            study_instance_uid=EVIL,
            series_instance_uid=EVIL,
            sop_instance_uid=EVIL,
            outcome=outcome,
            error_class=EVIL,
            code=EVIL,
            path=EVIL,
        )
        for outcome in ("received", "refused", "missing", "unexpected")
    ]
    html = html_report(rows, title=EVIL, subtitle=EVIL, thumbnails={EVIL: EVIL})
    page = Page(html)
    assert page.count("script") == 0
    assert "alert" in page.text
    assert [attributes["src"] for tag, attributes in page.tags if tag == "img"] == [EVIL]


def test_nothing_is_loaded_and_nothing_runs() -> None:
    """The page is whole in itself, and says so to the browser."""
    html = html_report([row(1, finished_at_s=0.0), row(2, finished_at_s=1.0)], title="A job")
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|url\(|@import|<script|<link", html)


def test_tables_have_headers() -> None:
    """A screen reader can say which row and column a cell is in."""
    page = Page(html_report([row(1), row(2, "missing")], title="A job"))
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert set(scopes) == {"col", "row"}
    assert page.count("table") == 3
    assert ("html", {"lang": "en"}) in page.tags


def test_finished() -> None:
    """The moment is there for people, with its zone, and for machines."""
    html = html_report([], title="A job", finished=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert '<time datetime="2026-01-02T03:04:05+00:00">2026-01-02 03:04:05 UTC</time>' in html


def test_a_large_job_stays_readable() -> None:
    """Of 100,000 instances in 2,000 series, tables come closed, and what did not come is shown up to a bound."""
    rows = (
        row(number, "missing" if number % 10 == 0 else "received", series=number // 50) for number in range(100_000)
    )
    html = html_report(rows, title="A job")
    page = Page(html)
    assert len(html) < 3_000_000
    assert "The first 5,000 of 10,000" in page.text
    assert "Series 1,501 to 2,000" in page.text
    assert not any("open" in attributes for tag, attributes in page.tags if tag == "details")


# --- throughput


def test_chart_shows_all_bytes() -> None:
    """The curve's mean height is the average that the words say: no byte is lost between two spans."""
    svg = throughput_chart([(float(second), 1_000_000) for second in range(1, 101)], 0.0)
    assert "1.0 MB/s on average over 1:40" in svg
    chart = ElementTree.fromstring(re.sub(r"class=(\w+)", r'class="\1"', svg.partition("</svg>")[0] + "</svg>"))
    assert chart.find("title") is not None
    assert chart.find("desc") is not None
    curve = chart.find("polyline")
    assert curve is not None
    heights = [float(point.partition(",")[2]) for point in curve.get("points", "").split()]
    # 210 is the axis, 12 the top, which is 2 MB/s.
    rates = [(210 - height) / (210 - 12) * 2 for height in heights]
    assert sum(rates) / len(rates) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    ("arrivals", "started_at_s"),
    [
        pytest.param([], None, id="none"),
        pytest.param([(1.0, 5)], 0.0, id="one"),
        pytest.param([(1.0, 5), (1.0, 5)], None, id="no time between"),
    ],
)
def test_chart_of_too_little(arrivals: list[tuple[float, int]], started_at_s: float | None) -> None:
    """Where there is no rate to say, nothing is shown."""
    assert throughput_chart(arrivals, started_at_s) == ""


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        pytest.param(0.32, ["0 s", "0.05 s", "0.1 s", "0.15 s", "0.2 s", "0.25 s", "0.3 s"], id="a moment"),
        pytest.param(50, ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s"], id="seconds"),
        pytest.param(400, ["0:00", "1:00", "2:00", "3:00", "4:00", "5:00", "6:00"], id="minutes"),
        pytest.param(30 * 3600, ["0:00", "6:00:00", "12:00:00", "18:00:00", "24:00:00", "30:00:00"], id="hours"),
        pytest.param(5 * 86400, ["0:00", "24:00:00", "2 d 0 h", "3 d 0 h", "4 d 0 h", "5 d 0 h"], id="days"),
    ],
)
def test_chart_has_round_times(seconds: float, ticks: list[str]) -> None:
    """The time axis has the steps that clocks have, and few of them."""
    svg = throughput_chart([(0.0, 1), (seconds, 1)], None)
    shown = re.findall(r'<text x="[^"]*" y="232"[^>]*>([^<]*)<', svg)
    assert shown == ticks


def test_chart_of_a_year() -> None:
    """Whatever takes longer has as many ticks."""
    svg = throughput_chart([(0.0, 1), (365 * 86400.0, 1)], None)
    assert svg.count('y="232"') == 8


def test_chart_of_empty_files() -> None:
    """Sizes of 0 divide nothing."""
    assert "0 B/s at most" in throughput_chart([(1.0, 0), (2.0, 0)], None)


# --- the command


def test_get_writes_the_page(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """``--report-html`` has the counts of the report, with pictures where asked for."""
    file = tmp_path / "report.html"
    options = ("-o", tmp_path / "out", "--report-html", file)
    result = rad69("get", source.url, "--table", table, *options, "--thumbnails")
    assert result.exit_code == 0, result.output
    page = Page(file.read_text(encoding="utf-8"))
    assert "Complete: all 82 instances are here" in page.text
    assert "Throughput" in page.text
    assert page.count("img") > 10
    rad69("get", source.url, "--table", table, *options)
    again = Page(file.read_text(encoding="utf-8"))
    assert "Complete: all 82 instances are here" in again.text
    assert "Throughput" not in again.text


def test_get_writes_the_page_of_a_failure(source: SimulatedSource, tmp_path: Path) -> None:
    """What did not come is on the page, and the exit code is the retrieve's."""
    file = tmp_path / "report.html"
    unknown = ("--repository", "1.2.3.4", "--reference", "1.2.3/1.2.3.4/1.2.3.4.5")
    result = rad69("get", source.url, *unknown, "-o", tmp_path / "out", "--report-html", file)
    assert result.exit_code == 3
    assert "1.2.3.4.5 refused XDSMissingDocumentError (XDSMissingDocument)" in Page(file.read_text()).text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param(("--thumbnails",), "--report-html", id="pictures of nothing"),
        pytest.param(
            ("--report-html", "no-such-folder/report.html"), "there is no folder no-such-folder", id="no folder"
        ),
    ],
)
def test_options_are_checked_first(options: tuple[str, ...], complaint: str, table: Path) -> None:
    """A page that cannot be written is said before anything is asked for."""
    result = rad69("get", "http://127.0.0.1:1/", "--table", table, "-o", "out", *options)
    assert result.exit_code == 2
    assert complaint in result.output


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, table: Path, tmp_path: Path) -> None:
    """Without pillow there is a line that says how to get it."""
    monkeypatch.setattr("asyncrad69.cli._page_file.find_spec", lambda name: None if name == "PIL" else object())
    options = ("--report-html", tmp_path / "report.html", "--thumbnails")
    result = rad69("get", "http://127.0.0.1:1/", "--table", table, "-o", "out", *options)
    assert result.exit_code == 2
    assert "asyncrad69[cli,report]" in result.output


def test_a_page_that_cannot_be_written(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """It is a storage failure; the instances are there all the same."""
    options = ("-o", tmp_path / "out", "--report-html", tmp_path / ("x" * 300))
    result = rad69("get", source.url, "--table", table, *options)
    assert result.exit_code == 7
    assert "cannot be written" in result.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 82


# --- thumbnails


def test_thumbnail_of_what_cannot_be_decoded(tmp_path: Path) -> None:
    """What is no picture, or no file, has none, quietly."""
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    rows = [row(1, path=str(tmp_path / "a.dcm")), row(1, series=2, path=str(tmp_path / "b.dcm"))]
    assert thumbnails(rows) == {}


# --- in a browser


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on PATH")
def test_chromium_shows_the_page(tmp_path: Path) -> None:
    """A browser lays the page out without a complaint, and its picture has more than the background."""
    from PIL import Image  # noqa: PLC0415 - only where there is a browser

    file, picture = tmp_path / "report.html", tmp_path / "report.png"
    rows = [row(number, size_bytes=number * 1000, finished_at_s=number / 7) for number in range(1, 200)]
    file.write_text(html_report([*rows, row(500, "missing")], title="A job"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,1200", f"--screenshot={picture}"]
    done = subprocess.run(
        [str(CHROMIUM), *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=60
    )
    assert "CONSOLE" not in done.stderr
    with Image.open(picture) as image:
        assert image.size == (1000, 1200)
        colours = image.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        shown = {colour for _, colour in colours}
    assert {(0xF5, 0xF6, 0xF7), (0xFF, 0xFF, 0xFF), (0xFB, 0xEC, 0xEB), (0xD7, 0xE8, 0xEB)} <= shown
