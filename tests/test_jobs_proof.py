"""What a job can prove: its reports, its files against their hashes, and shards merged into one."""

from __future__ import annotations

import csv
import hashlib
import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import InstanceReference, references_from_table
from asyncrad69._journal import Entry
from asyncrad69.jobs import Job, JobError, JobRow, Shard
from asyncrad69.jobs._records import JobRecords
from asyncrad69.jobs._store import Store

if TYPE_CHECKING:
    from pathlib import Path

REFERENCES = [
    InstanceReference(f"1.{n % 3}", f"1.{n % 3}.1", f"1.{n % 3}.1.{n}", repository_unique_id="1.9") for n in range(1, 7)
]


def enter(path: Path, root: Path, done: list[InstanceReference], lost: list[JobRow]) -> None:
    """A run's outcome, with files of a few bytes."""
    with Store(path) as store:
        records = JobRecords(store, root)
        for reference in done:
            file = root / f"{reference.sop_instance_uid}.dcm"
            data = reference.sop_instance_uid.encode()
            file.write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            uid = reference.sop_instance_uid
            records.append(
                [Entry(sop_instance_uid=uid, path=file.name, size_bytes=len(data), sha256=sha256)], sync=True
            )
        store.enter_losses(lost)
        records.close()


def refused(reference: InstanceReference) -> JobRow:
    return JobRow(
        reference=reference, state="refused", error="XDSMissingDocumentError", code="XDSMissingDocument", message="no"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A job with four files, one refusal, one that is pending."""
    path = tmp_path / "job.db"
    Job.plan(path, references=REFERENCES).close()
    enter(path, tmp_path / "images", REFERENCES[:4], [refused(REFERENCES[4])])
    return path


def test_the_table_has_every_instance_and_can_be_planned_again(path: Path, tmp_path: Path) -> None:
    """A line each, with its outcome; what is not done is a table of references."""
    with Job.open(path) as job:
        whole, rest = StringIO(), (tmp_path / "rest.csv").open("w", newline="")
        job.write_csv(whole)
        with rest:
            job.write_csv(rest, ["refused", "pending"])
    rows = {row["SOPInstanceUID"]: row for row in csv.DictReader(StringIO(whole.getvalue()))}
    assert set(rows) == {each.sop_instance_uid for each in REFERENCES}
    first, lost = (rows[REFERENCES[n].sop_instance_uid] for n in (0, 4))
    assert first["State"] == "done"
    assert (tmp_path / "images" / f"{REFERENCES[0].sop_instance_uid}.dcm").samefile(first["Path"])
    assert first["SizeBytes"] == str(len(REFERENCES[0].sop_instance_uid))
    assert len(first["SHA256"]) == 64
    assert first["Time"].endswith("+00:00")
    assert (lost["State"], lost["Error"], lost["Code"]) == ("refused", "XDSMissingDocumentError", "XDSMissingDocument")
    assert set(references_from_table(tmp_path / "rest.csv")) == set(REFERENCES[4:])


@pytest.mark.parametrize("states", [["done"], ["missing"], ["pending", "refused"]])
def test_json_is_one_object(states: list[str], path: Path) -> None:
    """The status and the rows asked for, even if there are none."""
    file = StringIO()
    with Job.open(path) as job:
        job.write_json(file, states)  # type: ignore[arg-type]
        wanted = [row.reference.sop_instance_uid for row in job.rows(states)]  # type: ignore[arg-type]
    found = json.loads(file.getvalue())
    assert [row["sop_instance_uid"] for row in found["rows"]] == wanted
    assert (found["complete"], found["done"], found["refused"], found["pending"]) == (False, 4, 1, 1)
    assert found["reasons"] == [{"error": "XDSMissingDocumentError", "code": "XDSMissingDocument", "instances": 1}]
    assert found["rejected"] == []


def test_verify_finds_what_is_gone_or_changed(path: Path, tmp_path: Path) -> None:
    """One bit is enough; what is asked for again is pending, and the changed file is kept beside."""
    gone, changed = (tmp_path / "images" / f"{each.sop_instance_uid}.dcm" for each in REFERENCES[:2])
    with Job.open(path) as job:
        assert [each.flaw for each in job.verify()] == [None] * 4
        gone.unlink()
        changed.write_bytes(changed.read_bytes()[:-1] + b"x")
        for ask_again in (False, True):
            flaws = {each.row.path.name: each.flaw for each in job.verify(ask_again=ask_again) if each.row.path}
            assert (flaws[gone.name], flaws[changed.name]) == ("gone", "changed")
            assert [flaw for flaw in flaws.values() if flaw is None] == [None, None]
        assert (job.status().done, job.status().pending) == (2, 3)
        assert [each.flaw for each in job.verify()] == [None, None]
    assert not changed.exists()
    assert changed.with_name(f"{changed.name}.changed").exists()


def test_changed_files_are_kept_each_time(path: Path, tmp_path: Path) -> None:
    """What was put aside earlier stays as it is."""
    images, reference = tmp_path / "images", REFERENCES[0]
    file = images / f"{reference.sop_instance_uid}.dcm"
    changes = [b"first", b"second", b"third"]
    for change in changes:
        enter(path, images, [reference], [])
        file.write_bytes(change)
        with Job.open(path) as job:
            assert [each.flaw for each in job.verify(ask_again=True) if each.flaw] == ["changed"]
    kept = [file.with_name(f"{file.name}.changed{end}") for end in ("", ".2", ".3")]
    assert [each.read_bytes() for each in kept] == changes
    assert not file.exists()


def test_merged_shards_are_the_whole(tmp_path: Path) -> None:
    """Jobs planned and run apart, with other folders: one job, with every outcome."""
    paths = []
    for number in range(2):
        shard, path = Shard(number, 2), tmp_path / f"{number}.db"
        Job.plan(path, references=REFERENCES, shard=shard).close()
        enter(
            path, tmp_path / f"images{number}", [each for each in REFERENCES if shard.has(each.study_instance_uid)], []
        )
        paths.append(path)
    with Job.merge(paths, tmp_path / "whole.db") as whole:
        assert whole.status().complete
        assert whole.status().instances == len(REFERENCES)
        assert not [each for each in whole.verify() if each.flaw]


@pytest.mark.parametrize("turned", [False, True])
def test_what_got_furthest_counts(turned: bool, path: Path, tmp_path: Path) -> None:
    """Two copies of one plan, each with outcomes of its own, in either order."""
    other = tmp_path / "other.db"
    Job.plan(other, references=REFERENCES).close()
    missing = JobRow(reference=REFERENCES[5], state="missing", error="ConnectionLost", message="cut")
    enter(other, tmp_path / "others", [REFERENCES[4]], [missing, refused(REFERENCES[0])])
    jobs = [other, path] if turned else [path, other]
    with Job.merge(jobs, tmp_path / "whole.db") as whole:
        status = whole.status()
        assert (status.done, status.missing, status.refused, status.pending) == (5, 1, 0, 0)
        assert not [each for each in whole.verify() if each.flaw]
        assert all(not row.error for row in whole.rows(["done"]))


def test_what_contradicts_is_not_merged(path: Path, tmp_path: Path) -> None:
    """The same instance in two series: refused, and no file is left."""
    other = tmp_path / "other.db"
    Job.plan(other, references=("1.7", "1.7.1", REFERENCES[0].sop_instance_uid)).close()
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(JobError, match=r"other.db has 1 instances in other studies"):
        Job.merge([path, other], tmp_path / "whole.db")
    with pytest.raises(JobError, match="there is no job"):
        Job.merge([path, tmp_path / "none.db"], tmp_path / "whole.db")
    assert sorted(each.name for each in tmp_path.iterdir()) == before
