"""``rad69 bench``: what it measures, what it concludes, and how it ends."""

from __future__ import annotations

import json
from threading import Condition
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from asyncrad69.cli import _bench
from asyncrad69.cli._app import app
from asyncrad69.cli._get import get
from asyncrad69.cli._recommendation import Concurrency, Run, Setting, Trial, recommend
from asyncrad69.testing import SimulatedSource, write_kos
from replies import answer, document, inline
from source import Asked, Scripted, ScriptedSource, no

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "correct-horse-battery"
SOAP = ("Content-Type: application/soap+xml",)


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=4) as running:
        yield running


def bench(url: str, source: SimulatedSource, count: int, *args: str, **kwargs: Any) -> Result:
    """The first *count* instances of a series with as many, in one round without pauses."""
    by_series: dict[str, list[str]] = {}
    for each in source.references():
        uids = f"{each.study_instance_uid}/{each.series_instance_uid}/{each.sop_instance_uid}"
        by_series.setdefault(each.series_instance_uid, []).append(uids)
    series = next(uids for uids in by_series.values() if len(uids) >= count)
    asked = [arg for uids in series[:count] for arg in ("--reference", uids)]
    repository = source.references()[0].repository_unique_id
    fixed = ["bench", url, "--repository", str(repository), "--rounds", "1", "--pause", "0", *asked]
    return CliRunner().invoke(app, [*fixed, *args], prog_name="rad69", **kwargs)


# --- what follows from the figures


def trial(concurrency: Concurrency, size: int | None, *rates: float, overloaded: bool = False) -> Trial:
    runs = [
        Run(delivered=9, failed=0, bytes_per_second=rate * 1e6, first_instance_s=0.1, overloaded=overloaded)
        for rate in rates
    ]
    return Trial(Setting(concurrency, size), runs)


@pytest.mark.parametrize(
    ("trials", "concurrency"),
    [
        pytest.param([trial(4, 7, 10, 12), trial(8, 7, 20, 21)], 8, id="faster"),
        pytest.param([trial(4, 7, 10, 16), trial(8, 7, 14, 16)], 4, id="within the spread"),
        pytest.param([trial(4, 7, 10, 10), trial(8, 7, 10.5, 10.5)], 4, id="not worth it"),
        pytest.param([trial(1, 7, 10, 10), trial(2, 7, 10, 10)], 1, id="the default was not reached"),
        pytest.param([trial(1, 7, 10, 10), trial(2, 7, 20, 20), trial(4, 7, 40, overloaded=True)], 2, id="too much"),
        pytest.param([trial(4, 7, 10, 10), trial("auto", 7, 20, 20)], "auto", id="auto"),
    ],
)
def test_recommended_concurrency(trials: list[Trial], concurrency: Concurrency) -> None:
    """More is recommended only where it is faster by more than chance explains, and never what was too much."""
    found = recommend(trials, [])
    assert found is not None
    assert found.setting == Setting(concurrency, None)
    said = [each.split()[1] for each in found.reasons if "is too much for the source" in each]
    assert said == [str(each.setting.concurrency) for each in trials if each.overloaded]


@pytest.mark.parametrize(
    ("trials", "size"),
    [
        pytest.param([trial(4, None, 10, 11), trial(4, 10, 20, 21), trial(4, 1, 5, 5)], 10, id="faster"),
        pytest.param([trial(4, None, 10, 20), trial(4, 10, 20, 21), trial(4, 1, 5, 5)], None, id="within the spread"),
        pytest.param([trial(4, None, 10, 10), trial(4, 1, 30, overloaded=True)], None, id="too much"),
        pytest.param(
            [trial(4, None, 10, overloaded=True), trial(4, 10, 20, 20), trial(4, 1, 5, 5)],
            10,
            id="a series is too much",
        ),
        pytest.param(
            [trial(4, None, 10, overloaded=True), trial(4, 10, 20, 20), trial(4, 1, 21, 21)], 10, id="the largest"
        ),
        pytest.param(
            [trial(4, None, 10, overloaded=True), trial(4, 10, 20, 20), trial(4, 1, 40, 40)], 1, id="the fastest"
        ),
        pytest.param(
            [trial(4, size, 10, overloaded=True) for size in (None, 10, 1)], 7, id="what the concurrency was tried with"
        ),
    ],
)
def test_recommended_request_size(trials: list[Trial], size: int | None) -> None:
    """Series are split only where that is clearly faster, or where they are too much, which is said."""
    found = recommend([trial(4, 7, 10, 10)], trials)
    assert found is not None
    assert found.setting == Setting(4, size)
    said = [each for each in found.reasons if "per request" in each and "too much for the source" in each]
    too_much = [each.setting.instances_per_request for each in trials if each.overloaded]
    assert len(said) == len(too_much)
    assert any("a series per request" in each for each in said) == (None in too_much)


def test_differences_within_the_noise_are_called_so() -> None:
    """Who reads the recommendation learns that the figures do not support more."""
    found = recommend([trial(4, 7, 10, 16), trial(8, 7, 14, 16)], [])
    assert found is not None
    assert found.reasons == ("concurrency 4 (the default): what others gain is within the noise.",)


def test_nothing_is_recommended_where_nothing_was_borne() -> None:
    """A source that is busy from the first request on gives no figures to go by."""
    assert recommend([trial(1, 7, 10, overloaded=True)], []) is None


# --- the command


def test_json(source: SimulatedSource) -> None:
    """stdout has every trial and the recommendation, and nothing is lost on the way."""
    result = bench(source.url, source, 4, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) == {"instances", "concurrency", "request_size", "recommendation"}
    assert found["instances"] == 4
    assert [each["concurrency"] for each in found["concurrency"]][:2] == [1, 2]
    assert [each["instances_per_request"] for each in found["request_size"]] == [None, 10, 1]
    for each in [*found["concurrency"], *found["request_size"]]:
        assert (each["delivered"], each["failed"], each["overloaded"]) == (4, 0, False)
        assert each["bytes_per_second"] > 0
        assert each["first_instance_s"] > 0
    assert set(found["recommendation"]) == {"concurrency", "instances_per_request", "options", "reasons"}


@pytest.mark.parametrize("option", ["--kos", "--table"])
def test_what_a_file_lists(option: str, source: SimulatedSource, tmp_path: Path) -> None:
    """Manifests and tables name the instances, as for ``rad69 get``."""
    references, file = source.references()[:3], tmp_path / "file"
    if option == "--kos":
        write_kos(references, repository_unique_id=str(references[0].repository_unique_id)).save_as(
            file, enforce_file_format=True
        )
    else:
        lines = (
            f"{each.study_instance_uid},{each.series_instance_uid},{each.sop_instance_uid},{each.repository_unique_id}"
            for each in references
        )
        file.write_text("\n".join(("study uid,series uid,instance uid,repository", *lines)))
    before = len(source.requests)
    args = ("bench", source.url, option, str(file), "--rounds", "1", "--pause", "0", "--json")
    result = CliRunner().invoke(app, args, prog_name="rad69")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["instances"] == 3
    asked = {uid for request in source.requests[before:] for uid in request.sop_instance_uids}
    assert asked == {each.sop_instance_uid for each in references}


def test_an_instance_that_the_source_does_not_have(source: SimulatedSource) -> None:
    """Incomplete, and it says why, without the UID; the recommendation is there all the same."""
    unknown = "1.2.826.0.1.1/1.2.826.0.1.1.2/1.2.826.0.1.1.2.3"
    result = bench(source.url, source, 2, "--reference", unknown, "--quiet", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["recommendation"]
    assert result.stderr.startswith("rad69: not every instance came, and not for being too much: ")
    assert "XDSMissingDocument" in result.stderr
    assert "1.2.826" not in result.stderr


@pytest.mark.parametrize("refusal", ["503 Busy", "413 Too Large", "XDSTooManyResults", "XDSRepositoryBusy"])
def test_a_series_that_is_too_much_at_once(refusal: str, source: SimulatedSource) -> None:
    """However the source says it: what is recommended is what was borne, and the words say why."""

    def few_at_once(asked: Asked) -> Scripted:
        if len(asked.wanted) > 2:
            return no(asked, refusal) if refusal.startswith("XDS") else Scripted(status=refusal)
        documents = [document(uid, inline(source.data(uid))) for uid in asked.wanted]
        return Scripted(headers=SOAP, body=answer(documents, relates_to=asked.message_id).encode())

    with ScriptedSource(few_at_once) as scripted:
        result = bench(scripted.url, source, 4)
    assert result.exit_code == 0, result.output
    assert "a series per request (the default) is too much for the source" in result.stdout
    assert "at most 10 per request is too much for the source" in result.stdout
    assert "--instances-per-request 1\n" in result.stdout


def test_words(source: SimulatedSource) -> None:
    """stdout has the recommendation for both, Python and the shell; stderr a line for every run."""
    result = bench(source.url, source, 4)
    assert result.exit_code == 0, result.output
    assert "AsyncRad69(url, concurrency=" in result.stdout
    assert "concurrency 1, 1 per request" in result.stderr
    assert "MB/s   first after" in result.stderr


def test_the_source_is_asked_as_get_would_ask_it(source: SimulatedSource) -> None:
    """What a source needs to be asked at all holds for every request of it."""
    before = len(source.requests)
    more = ("--packaging", "simple", "--transfer-syntax", "uncompressed", "--timeout-total", "50")
    result = bench(source.url, source, 2, *more)
    assert result.exit_code == 0, result.output
    asked = source.requests[before:]
    assert {request.packaging for request in asked} == {"simple"}
    assert {len(request.transfer_syntaxes) for request in asked} == {2}


@pytest.mark.parametrize("concurrency", [8, "auto"])
def test_the_recommendation_is_options_of_get(concurrency: Concurrency) -> None:
    """``rad69 get`` takes what is printed for it."""
    words = _bench._options(Setting(concurrency, 10)).split()
    assert words == ["--concurrency", str(concurrency), "--instances-per-request", "10"]
    assert get.make_context("get", [*words, "-o", "out", "http://source/"]).params["concurrency"] == concurrency


def test_only_a_part_is_asked_for(source: SimulatedSource) -> None:
    """No setting retrieves more instances than --instances, and the first request asks for one."""
    before = len(source.requests)
    result = bench(source.url, source, 4, "--instances", "2", "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["instances"] == 2
    asked = {uid for request in source.requests[before:] for uid in request.sop_instance_uids}
    assert len(asked) == 2
    assert len(source.requests[before].sop_instance_uids) == 1


def test_it_stops_where_the_source_is_busy(source: SimulatedSource) -> None:
    """A source that takes two requests at once is not asked for eight, and two is what is recommended."""
    changed = Condition()
    in_flight = 0

    def two_at_once(asked: Asked) -> Scripted:
        nonlocal in_flight
        with changed:
            in_flight += 1
            changed.notify_all()
            # Each answer takes its time, so that requests which may overlap do.
            busy = changed.wait_for(lambda: in_flight > 2, timeout=0.2)
            in_flight -= 1
        if busy:
            return Scripted(status="503 Busy")
        documents = [document(uid, inline(source.data(uid))) for uid in asked.wanted]
        return Scripted(headers=SOAP, body=answer(documents, relates_to=asked.message_id).encode())

    with ScriptedSource(two_at_once) as scripted:
        result = bench(scripted.url, source, 4, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(each["concurrency"], each["overloaded"]) for each in found["concurrency"]] == [
        (1, False),
        (2, False),
        (4, True),
    ]
    assert found["recommendation"]["concurrency"] == 2
    assert "too much" in result.stderr


@pytest.mark.parametrize(
    ("status", "code"),
    [("401 Unauthorized", 4), ("503 Busy", 5), ("404 Not Found", 6)],
)
def test_a_source_that_refuses(source: SimulatedSource, status: str, code: int) -> None:
    """The first request that fails ends it, with the exit code of get, and no secret is shown."""
    env = {"RAD69_PASSWORD": SECRET}
    with ScriptedSource(lambda _: Scripted(status=status, headers=("Retry-After: 0",))) as scripted:
        result = bench(scripted.url, source, 2, "--user", "me", "--allow-plaintext", env=env)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("rad69: ")
    assert SECRET not in result.output


def test_interrupted(source: SimulatedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it at once, without a recommendation."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_bench, "_row", interrupt)
    result = bench(source.url, source, 2)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "interrupted" in result.stderr


def test_a_missing_repository_is_a_usage_error(source: SimulatedSource) -> None:
    """What the library needs and was not given is asked for in the command line's words."""
    result = CliRunner().invoke(app, ["bench", source.url, "--reference", "1.2/1.2.3/1.2.3.4"], prog_name="rad69")
    assert result.exit_code == 2
    assert "--repository" in result.stderr
