"""Profiles: what they set, what they refuse and in which line, and that no secret is in them."""

from __future__ import annotations

import json
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from asyncrad69.cli._app import app
from asyncrad69.cli._profiles import profile_of
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=1) as running:
        yield running


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the file of profiles."""
    path = tmp_path / "profiles.toml"
    monkeypatch.setenv("RAD69_PROFILES", str(path))
    monkeypatch.delenv("RAD69_PROFILE", raising=False)
    monkeypatch.delenv("RAD69_PASSWORD", raising=False)

    def write(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        return path

    return write


def rad69(*args: object, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69", **kwargs)


def test_get_by_profile(source: SimulatedSource, profiles: Callable[[str], Path], tmp_path: Path) -> None:
    """URL and options come from the profile, and the command line has the last word."""
    profiles(
        f'[hospital]\nurl = "{source.url}"\nrepository = "1.2.3.4"\nconcurrency = "auto"\n'
        'transfer-syntax = "uncompressed"\ntimeout-total = 60\nexisting = "overwrite"\n'
    )
    first = source.references()[0]
    named = f"{first.study_instance_uid}/{first.series_instance_uid}/{first.sop_instance_uid}"
    asked = ("get", "--reference", named, "-o", tmp_path / "out")
    before = len(source.requests)
    for _ in range(2):
        assert rad69("--profile", "hospital", *asked).exit_code == 0
    assert len(source.requests) == before + 2
    assert len(source.requests[-1].transfer_syntaxes) == 2
    assert rad69("--profile", "hospital", *asked, "--repository", "9.9.9").exit_code == 3
    assert rad69(*asked, env={"RAD69_PROFILE": "hospital"}).exit_code == 0


def test_probe_by_profile(source: SimulatedSource, profiles: Callable[[str], Path]) -> None:
    """The other commands that reach a source take it, too."""
    profiles(f'[hospital]\nurl = "{source.url}"\nrepository = "1.2.3.4"\n')
    result = rad69("--profile", "hospital", "probe", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["layers"][-2]["state"] == "works"


def test_manifest_by_profile(source: SimulatedSource, profiles: Callable[[str], Path], tmp_path: Path) -> None:
    """So does what asks a repository; its list does not go where the instances go."""
    profiles(f'[hospital]\nurl = "{source.url}"\noutput = "{tmp_path / "images"}"\n')
    document = source.publish()
    named = f"{document.repository_unique_id}/{document.document_unique_id}"
    result = rad69("--profile", "hospital", "manifest", "--document", named)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1 + len(source.references())


def test_run_by_profile(source: SimulatedSource, profiles: Callable[[str], Path], tmp_path: Path) -> None:
    """A job takes url, folder and its own options from the profile, and what to do about files from nobody else."""
    profiles(
        f'[hospital]\nurl = "{source.url}"\noutput = "{tmp_path / "out"}"\nexisting = "error"\nconcurrency = 1\n'
        'durability = "batch"\nmax-rate = "900MB/s"\nmin-free = "1kB"\nstop-after-failures = 1\n'
    )
    table, job = tmp_path / "table.csv", tmp_path / "job.db"
    lines = [
        f"{each.study_instance_uid},{each.series_instance_uid},{each.sop_instance_uid},{each.repository_unique_id}"
        for each in source.references()[:2]
    ]
    table.write_text("\n".join(["StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,RepositoryUniqueId", *lines]))
    assert rad69("plan", table, "-o", job).exit_code == 0
    result = rad69("--profile", "hospital", "run", job, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["done"] == 2
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2
    assert profile_of("hospital").default_map()["run"]["max_rate"] == "900MB/s"
    assert rad69("run", job).exit_code == 2


@pytest.mark.parametrize(
    ("text", "completions"),
    [("[hospital]\n[harbour]\n[other]\n", ["hospital", "harbour"]), ("[hospital", [])],
    ids=["names", "no TOML"],
)
def test_completion(text: str, completions: list[str], profiles: Callable[[str], Path]) -> None:
    """The shell completes the names of profiles, and shows nothing where the file is of no use."""
    profiles(text)
    words = {"_RAD69_COMPLETE": "bash_complete", "COMP_WORDS": "rad69 --profile h", "COMP_CWORD": "2"}
    assert rad69(env=words).output.split() == [f"plain,{name}" for name in completions]


def test_files_are_found_from_the_profile(profiles: Callable[[str], Path], tmp_path: Path) -> None:
    """A path in the file does not depend on where the command is run."""
    (tmp_path / "ca.pem").touch()
    profiles('[hospital]\nca-file = "ca.pem"\n')
    assert profile_of("hospital").defaults == {"ca_file": str(tmp_path / "ca.pem")}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param('[other]\nurl = "http://x/"', "has no profile 'hospital'; it has: other", id="unknown"),
        pytest.param("hospital = 3", "line 1: hospital is no table", id="no table"),
        pytest.param("[hospital]\nurl = http://x/", "is not TOML", id="not TOML"),
        pytest.param("[other]\nurrl = 1\n[hospital]\n\nurrl = 1", "line 5: urrl: there is no such option", id="typo"),
        pytest.param("[hospital]\nconcurrency = 0", "line 2: concurrency: 0 is neither", id="range"),
        pytest.param("[hospital]\nconcurrency = true", "line 2: concurrency: true and false", id="type"),
        pytest.param("[hospital]\nconcurrency = [1]", "line 2: concurrency: one value", id="list"),
        pytest.param('[hospital]\npackaging = "zip"', "line 2: packaging: 'zip' is not one of", id="choice"),
        pytest.param('[hospital]\nca-file = "no.pem"', "line 2: ca-file: File", id="no file"),
        pytest.param('[hospital]\nwindow = "night"', "line 2: window: ", id="of run"),
        pytest.param('[hospital]\ntransfer-syntax = "jpeg"', "line 2: transfer-syntax: 'jpeg' is", id="syntax"),
        pytest.param('[hospital]\nmax-rate = "fast"', "line 2: max-rate: 'fast' is not a size", id="size"),
        pytest.param('[hospital]\ntable = "a.csv"', "line 2: table: there is no such option", id="not a setting"),
        pytest.param("[hospital]\npassword-stdin = true", "stdin belongs to the command line", id="stdin"),
    ],
)
def test_a_wrong_file(text: str, complaint: str, profiles: Callable[[str], Path]) -> None:
    """It is a usage error with the file and the line, before anything is sent."""
    path = profiles(text)
    result = rad69("--profile", "hospital", "get", "--reference", "1/2/3", "-o", "out")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert complaint in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{SECRET}"',
        f'header = "Authorization: {SECRET}"',
        f'proxy = "http://me:{SECRET}@proxy/"',
        f'url = "http://me:{SECRET}@source/"',
        f'qido-url = "http://me:{SECRET}@archive/"',
    ],
)
def test_no_secret_in_the_file(line: str, profiles: Callable[[str], Path]) -> None:
    """A secret in the file is refused and repeated nowhere, by no command."""
    profiles(f"[hospital]\n{line}\n")
    for args in (("--profile", "hospital", "probe"), ("profile", "show", "hospital"), ("profile", "list")):
        result = rad69(*args)
        assert result.exit_code == (0 if "list" in args else 2)
        assert SECRET not in result.output


# --- where a password is kept


def authorization(source: SimulatedSource, *args: object, **kwargs: Any) -> Result:
    return rad69("probe", source.url, "--user", "me", "--password-from", *args, **kwargs)


def test_password_from_the_environment(source: SimulatedSource) -> None:
    """The variable that is named has it; one that is not there is a usage error."""
    assert authorization(source, "env:PLACE", env={"PLACE": SECRET}).exit_code == 0
    absent = authorization(source, "env:NO_SUCH_PLACE")
    assert absent.exit_code == 2
    assert "there is no password at env:NO_SUCH_PLACE" in absent.stderr


def test_password_from_the_key_ring(source: SimulatedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key ring is asked for service and user; what it cannot give is a usage error."""
    ring: Any = types.ModuleType("keyring")
    ring.errors = types.SimpleNamespace(KeyringError=LookupError)
    ring.get_password = lambda service, user: {("rad69", "me"): SECRET, ("empty", "me"): None}[service, user]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    assert authorization(source, "keyring:rad69/me").exit_code == 0
    assert authorization(source, "keyring:empty/me").exit_code == 2
    locked = authorization(source, "keyring:locked/me")
    assert (locked.exit_code, SECRET in locked.output) == (2, False)


def test_missing_key_ring(source: SimulatedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra there is a line that says how to get it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    result = authorization(source, "keyring:rad69/me")
    assert result.exit_code == 2
    assert "asyncrad69[cli,keyring]" in result.stderr


@pytest.mark.parametrize("place", [SECRET, "env:", "keyring:", "keyring:service", "keyring:/user", f"file:{SECRET}"])
def test_password_from_nowhere(place: str, source: SimulatedSource) -> None:
    """What is no place may be the password itself, and is not repeated."""
    result = authorization(source, place)
    assert result.exit_code == 2
    assert "env:NAME or keyring:SERVICE/USER" in result.stderr
    assert SECRET not in result.output


# --- rad69 profile


def test_list(profiles: Callable[[str], Path]) -> None:
    """Names with their endpoints."""
    path = profiles('[a]\nurl = "https://a.example/"\n[longer]\n')
    assert rad69("profile", "list").stdout == "a       https://a.example/\nlonger\n"
    assert json.loads(rad69("profile", "list", "--json").stdout) == {
        "path": str(path),
        "profiles": {"a": "https://a.example/", "longer": ""},
    }


def test_list_of_none(tmp_path: Path) -> None:
    """No file is no error: it says where one would be."""
    result = rad69("profile", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(tmp_path / "profiles.toml") in result.stderr


def test_show(profiles: Callable[[str], Path]) -> None:
    """What is shown can be put into a file again."""
    lines = 'url = "https://a.example/"\nconcurrency = 3\ntransfer-syntax = ["lossless", "1.2"]\n'
    profiles(f"[a]\n{lines}")
    assert rad69("profile", "show", "a").stdout == lines
    assert json.loads(rad69("profile", "show", "a", "--json").stdout)["concurrency"] == 3


def test_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable it is in the platform's folder for configuration."""
    monkeypatch.delenv("RAD69_PROFILES")
    assert rad69("profile", "path").stdout.strip().endswith("profiles.toml")
    assert json.loads(rad69("profile", "path", "--json").stdout)["path"].endswith("profiles.toml")
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert "pip install" in rad69("profile", "path").stderr
