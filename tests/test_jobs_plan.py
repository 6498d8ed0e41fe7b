"""A job's plan: what is in it, what is rejected and why, and that a file that is no job says so."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from pathlib import Path

import pytest

from asyncrad69 import InstanceReference, StorageError
from asyncrad69.jobs import Job, JobError, Rejected, Shard
from asyncrad69.jobs._store import START, Store
from pages import ROOT
from test_reference_files import kos, saved, series, study

HEADER = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,RepositoryUniqueId"


def references(studies: int, instances: int = 2) -> list[InstanceReference]:
    """So many studies of one series each."""
    return [
        InstanceReference(f"1.{study}", f"1.{study}.1", f"1.{study}.1.{instance}")
        for study in range(1, studies + 1)
        for instance in range(1, instances + 1)
    ]


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join((HEADER, *lines)) + "\n")
    return path


def planned(job: Job) -> set[str]:
    return {row.reference.sop_instance_uid for row in job.rows()}


def test_a_plan_of_tables_manifests_and_references(tmp_path: Path) -> None:
    """Everything that is named is pending, once, at the place and repository it is named with."""
    manifest = saved(kos(study("1.2", series("1.2.1", "1.2.1.1", repository="1.9"))), tmp_path / "kos.dcm")
    lines = table(tmp_path / "table.csv", "1.3,1.3.1,1.3.1.1,1.8", "1.2,1.2.1,1.2.1.1,1.9", "1.3,1.3.1,1.3.1.1,1.8")
    with Job.plan(tmp_path / "job.db", files=[manifest, lines], references=("1.4", "1.4.1", "1.4.1.1")) as job:
        status = job.status()
        rows = {row.reference.sop_instance_uid: row for row in job.rows()}
    assert (status.studies, status.series, status.instances, status.pending) == (3, 3, 3, 3)
    assert not status.complete
    assert set(rows) == {"1.2.1.1", "1.3.1.1", "1.4.1.1"}
    assert [rows[uid].reference.repository_unique_id for uid in sorted(rows)] == ["1.9", "1.8", None]
    assert all(row.state == "pending" and row.time is None for row in rows.values())


def test_what_is_rejected_has_its_line_and_reason(tmp_path: Path) -> None:
    """A line that is wrong does not spoil the others; the job keeps where it stands and why it is none."""
    lines = table(
        tmp_path / "table.csv",
        "1.2,1.2.1,1.2.1.1,",
        "1.2,1.2.1,,",
        "",
        "1.2,1.2.1,1.2.O.3,",
        "1.3,1.2.1,1.2.1.1,",
        "1.2,1.2.1,1.2.1.2,",
    )
    other = tmp_path / "other.csv"
    other.write_text("study,series\n1.2,1.3\n")
    with Job.plan(tmp_path / "job.db", files=[lines, other]) as job:
        assert planned(job) == {"1.2.1.1", "1.2.1.2"}
        rejected = job.rejected()
    assert [(each.file, each.line) for each in rejected] == [
        ("table.csv", 3),
        ("table.csv", 5),
        ("table.csv", 6),
        ("other.csv", None),
    ]
    assert [each.reason.split(",")[0] for each in rejected[:3]] == [
        "sop_instance_uid: is missing",
        "sop_instance_uid: not a UID: character 5 is 'O'",
        "the instance is named before",
    ]
    assert "no column" in rejected[3].reason
    assert str(rejected[0]) == "table.csv, line 3: sop_instance_uid: is missing"


def test_a_plan_that_names_nothing_leaves_nothing(tmp_path: Path) -> None:
    """No job without an instance, and no file either; the error says what was wrong with the input."""
    lines = table(tmp_path / "table.csv", "1.2,,,", "1.2,,,")
    with pytest.raises(JobError, match=r"nothing to plan: table.csv, line 2: .*, and 1 more"):
        Job.plan(tmp_path / "job.db", files=[lines])
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_job_is_never_overwritten(tmp_path: Path) -> None:
    """Planning to a name that is taken is refused, and what has it stays."""
    path = tmp_path / "job.db"
    Job.plan(path, references=references(1)).close()
    with pytest.raises(JobError, match="is there already"):
        Job.plan(path, references=references(2))
    with Job.open(path) as job:
        assert job.status().instances == 2


@pytest.mark.parametrize("content", [b"", b"no database" * 100, None], ids=["empty", "text", "another's"])
def test_a_file_that_is_no_job(content: bytes | None, tmp_path: Path) -> None:
    """An empty file, a text, somebody else's database: the same error."""
    path = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE instance (id)")
        connection.close()
    else:
        path.write_bytes(content)
    with pytest.raises(JobError, match=r"other.db is not a job"):
        Job.open(path)


def test_a_job_that_is_not_there(tmp_path: Path) -> None:
    """The error says how to make one, and no file appears."""
    with pytest.raises(JobError, match="rad69 plan"):
        Job.open(tmp_path / "job.db")
    with pytest.raises(StorageError, match=r"table.csv cannot be read"):
        Job.plan(tmp_path / "job.db", files=[tmp_path / "table.csv"])
    with pytest.raises(StorageError) as caught:
        Job.plan(tmp_path / "nowhere" / "job.db", references=references(1))
    assert str(tmp_path / "nowhere" / "job.db") in caught.value.message
    assert "check permissions" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_job_on_a_file_system_that_refuses_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that it cannot be written, not that what was never written cannot be removed."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match="unable to open database file"):
        Job.plan(tmp_path / "nowhere" / "job.db", references=references(1))


def test_a_job_of_a_later_version(tmp_path: Path) -> None:
    """A schema this version does not know is refused, not misread."""
    path = tmp_path / "job.db"
    Job.plan(path, references=references(1)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(JobError, match="another version"):
        Job.open(path)


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_pending_instances_come_series_by_series(limit: int, tmp_path: Path) -> None:
    """Whatever the limit and the order of the input: each once, and a series is not mixed with another."""
    asked = references(3, 4)
    mixed = asked[::2] + asked[1::2]
    with Store.create(tmp_path / "job.db") as store:
        store.add(mixed)
        position, found = START, []
        while True:
            some, position = store.next_pending(position, limit)
            if not some:
                break
            assert len(some) <= limit
            found += some
    assert {each.sop_instance_uid for each in found} == {each.sop_instance_uid for each in asked}
    assert len(found) == len(asked)
    order = [each.series_instance_uid for each in found]
    assert sorted(order, key=order.index) == order


# --- shards


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_are_a_partition(count: int, tmp_path: Path) -> None:
    """Every study is in exactly one of them, with all of its instances."""
    asked = references(20)
    with Job.plan(tmp_path / "whole.db", references=asked) as whole:
        statuses = [whole.status(Shard(number, count)) for number in range(count)]
    assert sum(each.instances for each in statuses) == len(asked)
    assert sum(each.studies for each in statuses) == 20
    planned_apart: list[str] = []
    for number, status in enumerate(statuses):
        if status.instances:
            with Job.plan(tmp_path / f"{number}.db", references=asked, shard=Shard(number, count)) as job:
                assert job.status().instances == status.instances
                planned_apart += planned(job)
    assert sorted(planned_apart) == sorted(each.sop_instance_uid for each in asked)


def test_a_shard_is_the_same_for_ever() -> None:
    """The numbers do not depend on the machine, the process or the version: jobs planned apart must fit."""
    assert [next(n for n in range(5) if Shard(n, 5).has(f"1.2.{study}")) for study in range(8)] == [
        1,
        2,
        2,
        3,
        4,
        1,
        4,
        2,
    ]


def test_a_shard_s_number_is_what_is_documented() -> None:
    """Somebody else's program can tell it from the words: four bytes of the hash, big-endian, modulo the count."""
    for last in range(50):
        uid = f"1.2.840.{last}"
        number = int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) % 7
        assert Shard(number, 7).has(uid)
    for words in (Shard.__doc__, (ROOT / "docs" / "bulk.md").read_text()):
        assert "first four bytes of the SHA-256 of its" in " ".join((words or "").split())


@pytest.mark.parametrize("text", ["4/4", "1", "-1/4", "a/b", "1/0", "0/0", ""])
def test_what_is_no_shard(text: str) -> None:
    """i/n, with i from 0 to n - 1."""
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)


def test_rejected_without_a_line() -> None:
    """A file that is wrong as a whole has no line."""
    assert str(Rejected(file="kos.dcm", line=None, reason="not a manifest")) == "kos.dcm: not a manifest"
