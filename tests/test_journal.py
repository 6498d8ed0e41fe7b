"""The journal: what was entered is found again, whatever a killed process left, and unfinished files are swept."""

from __future__ import annotations

import csv
import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from asyncrad69 import _journal
from asyncrad69._journal import FOLDER, Entry, Journal

A = Entry(sop_instance_uid="1.1", path="1.1.dcm", size_bytes=1, sha256="aa")
B = Entry(sop_instance_uid="1.2", path="x/1.2.dcm", size_bytes=2, sha256="bb")


def lines(root: Path) -> Path:
    return root / FOLDER / "journal.jsonl"


def line(entry: Entry) -> bytes:
    return json.dumps(asdict(entry)).encode() + b"\n"


def test_what_was_entered_is_found_again(tmp_path: Path) -> None:
    """In this object at once, in the next one from the file; the root is made."""
    root = tmp_path / "a" / "b"
    with Journal(root) as journal:
        assert journal.entries == {}
        journal.append([A, B], sync=False)
        assert journal.entries == {A.path: A, B.path: B}
    with Journal(root) as journal:
        assert journal.entries == {A.path: A, B.path: B}


def test_the_last_line_of_a_path_counts(tmp_path: Path) -> None:
    """A file that was written anew has its new size and hash."""
    newer = Entry(sop_instance_uid="1.1", path=A.path, size_bytes=9, sha256="cc")
    with Journal(tmp_path) as journal:
        journal.append([A], sync=False)
        journal.append([newer], sync=False)
    with Journal(tmp_path) as journal:
        assert journal.entries == {A.path: newer}


class NearlyFull:
    """A file on a disk with room for some bytes more, which writes what fits and says how much that was."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file = file
        self.room = room

    def write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_disk_that_gets_full_in_a_line(tmp_path: Path) -> None:
    """It is an error, and costs no line but those that were being written."""
    with Journal(tmp_path) as journal:
        journal.append([A], sync=False)
        disk = NearlyFull(journal._lines, 20)
        journal._lines = disk  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            journal.append([B], sync=False)
        disk.room = 10_000
        journal.append([B], sync=False)
    assert lines(tmp_path).read_bytes() == line(A) + line(B)[:20] + b"\n" + line(B)
    with Journal(tmp_path) as journal:
        assert journal.entries == {A.path: A, B.path: B}


@pytest.mark.parametrize("sync", [False, True])
def test_sync_means_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    """With sync the lines are on the disk when append returns, and were written before."""
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with Journal(tmp_path) as journal:
        journal.append([A], sync=sync)
    assert sizes == [len(line(A))] * sync


@pytest.mark.parametrize("kept", range(len(line(B))))
def test_a_line_torn_anywhere_spoils_itself_only(tmp_path: Path, kept: int) -> None:
    """Cut after any byte of the last line: what came before and what comes after is read."""
    lines(tmp_path).parent.mkdir()
    lines(tmp_path).write_bytes(line(A) + line(B)[:kept])
    whole = kept == len(line(B)) - 1  # only its line end is gone
    with Journal(tmp_path) as journal:
        assert journal.entries == {A.path: A, **({B.path: B} if whole else {})}
        journal.append([B], sync=False)
    with Journal(tmp_path) as journal:
        assert journal.entries == {A.path: A, B.path: B}


@pytest.mark.parametrize(
    "strange", [b"\xff\xfe\n", b"[1]\n", b"null\n", b'{"path": "x"}\n', b"\n", b"\x00" * 512 + b"\n"]
)
def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path, strange: bytes) -> None:
    """Nothing in the file can keep a download from going on."""
    lines(tmp_path).parent.mkdir()
    lines(tmp_path).write_bytes(line(A) + strange + line(B))
    with Journal(tmp_path) as journal:
        assert journal.entries == {A.path: A, B.path: B}


def test_the_manifest_has_all_entries_by_path(tmp_path: Path) -> None:
    """Also those that another process entered meanwhile; it replaces the one before."""
    with Journal(tmp_path) as journal, Journal(tmp_path) as other:
        journal.append([B], sync=False)
        journal.write_manifest()
        other.append([A], sync=False)
        journal.write_manifest()
    with (tmp_path / FOLDER / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["SOPInstanceUID", "Path", "SizeBytes", "SHA256"],
        ["1.1", "1.1.dcm", "1", "aa"],
        ["1.2", "x/1.2.dcm", "2", "bb"],
    ]
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["journal.jsonl", "manifest.csv"]


def test_unfinished_files_are_swept_unless_somebody_is_at_work(tmp_path: Path) -> None:
    """A second journal on the folder touches nothing; the next one alone there does."""
    pytest.importorskip("fcntl", reason="no file locks of this kind on this system")
    with Journal(tmp_path) as journal:
        unfinished = journal.folder / "0.part"
        unfinished.touch()
        with Journal(tmp_path):
            assert unfinished.exists()
    with Journal(tmp_path):
        assert not unfinished.exists()


def test_without_locks_what_is_open_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no flock, and refuses to remove what another process has open: the rest goes."""
    monkeypatch.setattr(_journal, "fcntl", None)
    (tmp_path / FOLDER).mkdir()
    parts = [tmp_path / FOLDER / f"{number}.part" for number in range(3)]
    for part in parts:
        part.touch()
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == parts[1]:
            raise PermissionError(errno.EACCES, "used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with Journal(tmp_path):
        assert [part.exists() for part in parts] == [False, True, False]


def test_a_journal_that_cannot_be_read_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file it opened is closed again; a ResourceWarning would fail this test."""

    def broken(self: Journal) -> dict[str, Entry]:
        raise OSError("no more")

    monkeypatch.setattr(Journal, "_read", broken)
    with pytest.raises(OSError, match="no more"):
        Journal(tmp_path)
