"""Downloads: whole files under their names or none, what is there is not asked for again, and a kill loses little."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Semaphore
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import (
    AsyncRad69,
    ExistingFileError,
    IncompleteRetrieveError,
    InstanceReference,
    Rad69,
    StorageError,
    _download,
)
from asyncrad69._content import MemoryContent
from asyncrad69._download import Download
from asyncrad69._files import PathTemplate
from asyncrad69._instance import Instance
from asyncrad69._journal import Journal
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncrad69._journal import Entry

SCALE = os.environ.get("RAD69_TEST_SCALE", "")


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """A source with small instances and larger ones."""
    with SimulatedSource.demo(slices=10) as source:
        yield source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where downloads go."""
    return tmp_path / "images"


def files(folder: Path) -> dict[str, bytes]:
    """The content of every instance's file, by file name without ending."""
    return {path.stem: path.read_bytes() for path in folder.rglob("*.dcm")}


def expected(source: SimulatedSource) -> dict[str, bytes]:
    return {each.sop_instance_uid: source.data(each.sop_instance_uid) for each in source.references()}


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.mark.anyio
async def test_every_byte_as_sent(source: SimulatedSource, folder: Path) -> None:
    """Files hold what the source holds; journal and manifest hold their size and SHA-256."""
    async with AsyncRad69(source.url) as rad69:
        report = await rad69.download(source.references(), folder)
    assert report.complete
    assert files(folder) == expected(source)
    assert not unfinished(folder)
    with (folder / ".asyncrad69" / "manifest.csv").open(newline="") as manifest:
        rows = list(csv.DictReader(manifest))
    assert len(rows) == len(source.references())
    for row in rows:
        data = (folder / row["Path"]).read_bytes()
        assert (row["SizeBytes"], row["SHA256"]) == (str(len(data)), hashlib.sha256(data).hexdigest())


def test_the_sync_twin_does_the_same(source: SimulatedSource, folder: Path) -> None:
    """A template with fields, from the blocking client; the report has the paths."""
    with Rad69(source.url) as rad69:
        report = rad69.download(source.references(), folder / "{SeriesInstanceUID}" / "{SOPInstanceUID}.dcm")
    assert files(folder) == expected(source)
    for row in report.rows:
        reference = row.reference
        assert row.path == str(folder / reference.series_instance_uid / f"{reference.sop_instance_uid}.dcm")


@pytest.mark.anyio
@pytest.mark.parametrize("existing", ["skip", "verify"])
async def test_what_is_there_is_not_asked_for(source: SimulatedSource, folder: Path, existing: str) -> None:
    """The second run asks for the one file that is gone, and for nothing else."""
    references = source.references()
    async with AsyncRad69(source.url) as rad69:
        report = await rad69.download(references, folder)
        Path(report.rows[3].path or "").unlink()
        before = len(source.requests)
        report = await rad69.download(references, folder, existing=existing)  # type: ignore[arg-type]
    asked = [uid for request in source.requests[before:] for uid in request.sop_instance_uids]
    assert asked == [references[3].sop_instance_uid]
    assert report.complete
    assert report.remarks == {"an instance was in its file already": len(references) - 1}
    assert files(folder) == expected(source)


@pytest.mark.anyio
async def test_files_without_a_journal_count_if_they_are_whole(source: SimulatedSource, folder: Path) -> None:
    """A folder that something else filled: whole instances are kept and entered, a cut one is a conflict."""
    references = source.references()
    for reference in references:
        path = folder / f"{reference.sop_instance_uid}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.data(reference.sop_instance_uid))
    cut = folder / f"{references[0].sop_instance_uid}.dcm"
    cut.write_bytes(cut.read_bytes()[:-100])
    (folder / f"{references[1].sop_instance_uid}.dcm").write_bytes(b"")
    before = len(source.requests)
    async with AsyncRad69(source.url) as rad69:
        report = await rad69.download(references, folder / "{SOPInstanceUID}.dcm", on_failure="report")
    asked = {uid for request in source.requests[before:] for uid in request.sop_instance_uids}
    assert asked == {reference.sop_instance_uid for reference in references[:2]}
    assert [row.reference for row in report.missing] == list(references[:2])
    assert len((folder / ".asyncrad69" / "manifest.csv").read_text().splitlines()) == len(references) - 1


@pytest.mark.anyio
async def test_other_content_is_never_overwritten_unasked(source: SimulatedSource, folder: Path) -> None:
    """A conflict: the file stays, its instance is missing with the reason, all others are written."""
    references = source.references()
    async with AsyncRad69(source.url) as rad69:
        report = await rad69.download(references, folder)
        changed = Path(report.rows[5].path or "")
        changed.write_bytes(b"\0" * report.rows[5].size_bytes)
        with pytest.raises(IncompleteRetrieveError) as caught:
            await rad69.download(references, folder, existing="verify")
        row = caught.value.report.rows[5]
        assert isinstance(row.error, ExistingFileError)
        assert row.state == "missing"
        assert "is there already, with other content" in str(row.error)
        assert "existing='overwrite'" in str(row.error)
        assert len(caught.value.report.delivered) == len(references) - 1
        assert not any(changed.read_bytes())
        report = await rad69.download(references, folder, existing="overwrite")
    assert report.complete
    assert files(folder) == expected(source)


@pytest.mark.anyio
async def test_existing_error_refuses_to_begin(source: SimulatedSource, folder: Path) -> None:
    """With ``existing="error"`` one file that is there ends it before anything is sent."""
    references = source.references()
    async with AsyncRad69(source.url) as rad69:
        await rad69.download(references[0], folder)
        before = len(source.requests)
        with pytest.raises(ExistingFileError, match="is there already"):
            await rad69.download(references, folder, existing="error")
    assert len(source.requests) == before


@pytest.mark.anyio
@pytest.mark.parametrize("durability", ["batch", "each"])
async def test_synced_files_are_in_the_journal(source: SimulatedSource, folder: Path, durability: str) -> None:
    """Whatever the durability, at the end every file has its line."""
    async with AsyncRad69(source.url) as rad69:
        await rad69.download(source.references(), folder, durability=durability)  # type: ignore[arg-type]
    lines = (folder / ".asyncrad69" / "journal.jsonl").read_text().splitlines()
    assert {json.loads(line)["sop_instance_uid"] for line in lines} == set(expected(source))


@pytest.mark.anyio
async def test_two_downloads_at_once_into_one_folder(source: SimulatedSource, folder: Path) -> None:
    """Two clients that write the same instances to the same place do not fight."""
    import anyio  # noqa: PLC0415

    async with AsyncRad69(source.url) as rad69, AsyncRad69(source.url) as other, anyio.create_task_group() as group:
        for client in (rad69, other):
            group.start_soon(client.download, source.references(), folder)
    assert files(folder) == expected(source)
    assert not unfinished(folder)


@pytest.mark.anyio
async def test_links_are_not_followed(source: SimulatedSource, folder: Path, tmp_path: Path) -> None:
    """A symbolic link below the root would lead out of it: the download ends, and nothing is written there."""
    reference = source.references()[0]
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / reference.study_instance_uid).symlink_to(tmp_path / "elsewhere")
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(StorageError, match="is a symbolic link"):
            await rad69.download(reference, folder)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.anyio
async def test_a_torn_line_and_leftovers_are_tolerated(source: SimulatedSource, folder: Path) -> None:
    """What a killed process left: half a line, which the next one does not spoil, and an unfinished file."""
    references = source.references()
    async with AsyncRad69(source.url) as rad69:
        await rad69.download(references[:2], folder)
        journal = folder / ".asyncrad69" / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
        (folder / ".asyncrad69" / "0123.part").write_bytes(b"half")
        await rad69.download(references[:4], folder)
    assert not unfinished(folder)
    assert len((folder / ".asyncrad69" / "manifest.csv").read_text().splitlines()) == 5


@pytest.mark.anyio
async def test_a_folder_that_cannot_be_written(source: SimulatedSource, tmp_path: Path) -> None:
    """A file stands where the folder should be: one error with the caller's own path, before anything is sent."""
    (tmp_path / "file").write_text("")
    before = len(source.requests)
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(StorageError) as caught:
            await rad69.download(source.references(), tmp_path / "file" / "images")
    assert caught.value.message == f"{tmp_path / 'file' / 'images'} cannot be written: Not a directory"
    assert caught.value.hint == "Free space, or check permissions; running the same again goes on."
    assert len(source.requests) == before


class FullJournal(Journal):
    """A journal on a disk that is full until it is not."""

    full = True

    def append(self, entries: Iterable[Entry], *, sync: bool) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(entries, sync=sync)


def instances(source: SimulatedSource, count: int) -> list[Instance]:
    return [
        Instance(
            reference=reference,
            content=MemoryContent(source.data(reference.sop_instance_uid)),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )
        for reference in source.references()[:count]
    ]


def test_each_of_those_that_are_stored_together_has_its_own_outcome(source: SimulatedSource, folder: Path) -> None:
    some = instances(source, 3)
    download = Download(folder, existing="skip", durability="none")
    first, taken, last = (PathTemplate(folder).path(each.reference) for each in some)
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"something else")
    outcomes = download.store(some)
    download.close()
    assert outcomes == [first, outcomes[1], last]
    assert isinstance(outcomes[1], ExistingFileError)
    assert taken.read_bytes() == b"something else"
    assert not unfinished(folder)


def test_what_closing_tells_is_told_before_a_file_has_its_name(
    source: SimulatedSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system in the network says only then that there is no room; and Windows renames no file that is open."""
    close = os.close

    def no_room(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    download = Download(folder, existing="overwrite", durability="none")
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", no_room)
        (outcome,) = download.store(instances(source, 1))
    download.close()
    assert isinstance(outcome, StorageError)
    assert "Disk quota exceeded" in str(outcome)
    assert not files(folder)
    assert not unfinished(folder)


def test_a_journal_that_cannot_be_written_is_the_error_of_the_next_file(source: SimulatedSource, folder: Path) -> None:
    """What has its name counts; what comes after it is not written before the journal is."""
    journals: list[FullJournal] = []

    def records(root: Path) -> FullJournal:
        journals.append(FullJournal(root))
        return journals[0]

    first, second = instances(source, 2)
    download = Download(folder, existing="skip", durability="none", records=records)
    (path,) = download.store([first])
    assert path == next(folder.rglob("*.dcm"))
    with pytest.raises(StorageError, match=r"\.asyncrad69 cannot be written: No space left on device"):
        download.store([second])
    assert list(files(folder)) == [first.reference.sop_instance_uid]
    journals[0].full = False
    download.store([second])
    download.close()
    with Journal(folder) as journal:
        assert {entry.sop_instance_uid for entry in journal.entries.values()} == set(files(folder)) != set()
    assert len(files(folder)) == 2


class SlowContent(MemoryContent):
    """Bytes that come from a slow disk."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read = Semaphore(0)  # for each chunk that may be read
        self.reading = Semaphore(0)  # for each that is wanted

    def chunks(self, size_bytes: int) -> Iterator[memoryview]:
        for chunk in super().chunks(size_bytes // 1024):
            self.reading.release()
            self.read.acquire()
            yield chunk


def test_what_a_thread_is_storing_is_given_up_before_the_journal_closes(source: SimulatedSource, folder: Path) -> None:
    """Whoever leaves a download does not wait for the thread for ever; the thread must find the journal open."""
    first, second = instances(source, 2)
    content = SlowContent(second.data)
    download = Download(folder, existing="skip", durability="none")
    with ThreadPoolExecutor(2) as threads:
        storing = threads.submit(download.store, [first, replace(second, content=content)])
        content.reading.acquire()
        closing = threads.submit(download.close)
        try:
            with pytest.raises(TimeoutError):
                closing.result(0.2)
        finally:
            content.read.release(1000)
        path, error = storing.result(30)
        closing.result(30)
    assert isinstance(error, StorageError)
    assert str(error) == "the download was ended"
    assert list(files(folder)) == [first.reference.sop_instance_uid]
    assert not unfinished(folder)
    with Journal(folder) as journal:
        assert [folder / each for each in journal.entries] == [path]
    with pytest.raises(StorageError, match="the download was ended"):
        download.store([second])


def test_a_failed_sync_is_not_tried_again(
    source: SimulatedSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operating system tells an error of writing back once; the next fsync succeeds, and proves nothing."""
    first, second = instances(source, 2)
    download = Download(folder, existing="skip", durability="each")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fail)
        with pytest.raises(StorageError, match="Input/output error"):
            download.store([first])
    with pytest.raises(StorageError, match="Input/output error"):
        download.store([second])
    with pytest.raises(StorageError, match="Input/output error"):
        download.close()
    with Journal(folder) as journal:
        assert journal.entries == {}


def test_windows_syncs_what_may_be_written(
    source: SimulatedSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses a descriptor that only reads, and it has no call for folders."""
    fcntl = pytest.importorskip("fcntl")
    fsync, synced = os.fsync, []

    def windows_fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", windows_fsync)
    monkeypatch.setattr(_download, "os", SimpleNamespace(**vars(os) | {"name": "nt"}))
    instance, *_ = instances(source, 1)
    download = Download(folder, existing="skip", durability="each")
    [path] = download.store([instance])
    download.close()
    assert isinstance(path, Path)
    assert path.read_bytes() == instance.data
    assert len(synced) == 2  # the file and the journal


def _fail(_descriptor: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.anyio
async def test_a_manifest_that_cannot_be_written(
    source: SimulatedSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, with the report of what came; and it hides no other error."""

    def finish(_journal: Journal) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "finish", finish)
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(StorageError, match="No space left on device") as caught:
            await rad69.download(source.references(), folder)
        assert caught.value.report is not None
        assert caught.value.report.complete
        unknown = InstanceReference("1.2.3", "1.2.3.4", "1.2.3.4.5", repository_unique_id="1.2")
        with pytest.raises(IncompleteRetrieveError) as failed:
            await rad69.download(unknown, folder)
    assert len(failed.value.report.rows) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("option", "message"), [("existing", "'verify'"), ("durability", "'batch'")])
async def test_unknown_policies(source: SimulatedSource, folder: Path, option: str, message: str) -> None:
    """A policy that there is not is refused, and the message has those that there are."""
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(ValueError, match=message):
            await rad69.download(source.references(), folder, **{option: "always"})  # type: ignore[arg-type]
    assert not folder.exists()


RUN = """
    import resource, sys
    from asyncrad69 import Rad69, StorageError, references_from_table
    url, table, folder, limit = sys.argv[1:]
    if int(limit):
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    with Rad69(url) as rad69:
        try:
            rad69.download(references_from_table(table), folder)
        except StorageError as exc:
            print(exc, len(exc.report.delivered), sep="|")
            sys.exit(7)
"""


def downloading(source: SimulatedSource, folder: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    """A process that downloads everything; no file of its may have more than *limit* bytes."""
    table = folder.with_name("table.csv")
    rows = (
        (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid, each.repository_unique_id or "")
        for each in source.references()
    )
    header = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,RepositoryUniqueId"
    table.write_text("\n".join([header, *map(",".join, rows)]))
    code = textwrap.dedent(RUN)
    arguments = (sys.executable, "-c", code, source.url, str(table), str(folder), str(limit))
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_a_disk_that_takes_no_more(source: SimulatedSource, folder: Path) -> None:
    """The write fails in the middle: one StorageError, no half file under a final name, and the next run goes on."""
    with downloading(source, folder, limit=100_000) as process:
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 7, output
    message, delivered = output.split("|")
    assert "cannot be written" in message
    assert int(delivered) == len(files(folder))
    assert not unfinished(folder)
    wanted = expected(source)
    assert all(wanted[name] == data for name, data in files(folder).items())
    with downloading(source, folder) as process:
        assert process.wait(60) == 0
    assert files(folder) == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.timeout(900)
def test_a_kill_loses_no_more_than_what_is_in_flight(source: SimulatedSource, folder: Path) -> None:
    """Killed at random moments, again and again: every file that has its name is whole, and the last run completes."""
    wanted = expected(source)
    chance = random.Random(69)
    for _ in range(100 if SCALE == "full" else 5):
        with downloading(source, folder) as process:
            try:
                process.wait(chance.uniform(0.2, 0.9))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        kept = files(folder)
        assert all(wanted[name] == data for name, data in kept.items())
        # Some go again, so that the next one has work to do.
        for path in chance.sample(sorted(folder.rglob("*.dcm")), len(kept) // 2):
            path.unlink()
    with downloading(source, folder) as process:
        assert process.wait(60) == 0
    assert files(folder) == wanted
    assert not unfinished(folder)
