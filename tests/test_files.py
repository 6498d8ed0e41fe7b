"""Names on disk: where an instance goes, and that its name appears with the whole of its bytes or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from asyncrad69 import ExistingFileError, InstanceReference, StorageError
from asyncrad69._files import PathTemplate, make_folder, publish

REFERENCE = InstanceReference("1.1", "1.2", "1.3", repository_unique_id="1.9")
COMPARED_AT_ONCE = 1024 * 1024


# --- path templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "root", "path"),
    [
        ("out", "out", "out/1.1/1.2/1.3.dcm"),
        ("out/{SOPInstanceUID}.dcm", "out", "out/1.3.dcm"),
        ("out/{SeriesInstanceUID}/{SOPInstanceUID}", "out", "out/1.2/1.3"),
        ("out/of-{StudyInstanceUID}/{SOPInstanceUID}", "out", "out/of-1.1/1.3"),
        ("out/{SOPInstanceUID}/{SOPInstanceUID}.dcm", "out", "out/1.3/1.3.dcm"),
        ("{SOPInstanceUID}.dcm", ".", "1.3.dcm"),
        ("/a/b/{SOPInstanceUID}", "/a/b", "/a/b/1.3"),
    ],
)
def test_a_target_is_a_folder_or_a_path_with_fields(target: str, root: str, path: str) -> None:
    """The root is the deepest folder without a field; the fields are the reference's UIDs."""
    template = PathTemplate(target)
    assert template.root == Path(root)
    assert template.path(REFERENCE) == Path(path)


def test_a_target_may_be_a_path_object(tmp_path: Path) -> None:
    """An os.PathLike means what its text does."""
    assert PathTemplate(tmp_path).path(REFERENCE) == tmp_path / "1.1" / "1.2" / "1.3.dcm"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out/{PatientName}/{SOPInstanceUID}", r"\{PatientName\} is not a field"),
        ("out/{}/{SOPInstanceUID}", r"\{\} is not a field"),
        ("out/{SOPInstanceUID!r}", "is not a field"),
        ("out/{StudyInstanceUID}.dcm", r"needs \{SOPInstanceUID\}"),
        ("out/{SOPInstanceUID", "a brace of the path has no partner: a field is written {SOPInstanceUID}"),
        ("out/SOPInstanceUID}", "no partner"),
        ("out/{StudyInstanceUID/{SOPInstanceUID}", "no partner"),
        ("out/{{SOPInstanceUID}}", "no partner"),
        ("", "the target is empty: name a folder"),
    ],
)
def test_fields_that_make_no_path_are_refused(target: str, message: str) -> None:
    """Unknown fields, braces that are not closed, paths that instances would share, and nothing at all."""
    with pytest.raises(ValueError, match=message):
        PathTemplate(target)


# --- folders -------------------------------------------------------------------------------------------


def test_folders_are_made_and_may_be_there(tmp_path: Path) -> None:
    """All that is missing is made; the second time nothing happens."""
    for _ in range(2):
        make_folder(tmp_path / "a" / "b", tmp_path)
    make_folder(tmp_path, tmp_path)
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("below", ["link", "link/a", "link/a/b"])
def test_nothing_is_made_through_a_link(tmp_path: Path, below: str) -> None:
    """A symbolic link anywhere below the root is refused, and what it points to stays as it was."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "link").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(StorageError, match="symbolic link"):
        make_folder(root / below, root)
    assert list(elsewhere.iterdir()) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Where the caller's own folder is, is the caller's business."""
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real", target_is_directory=True)
    make_folder(tmp_path / "root" / "a", tmp_path / "root")
    assert (tmp_path / "real" / "a").is_dir()


# --- publishing ----------------------------------------------------------------------------------------


def without_links(*args: Any, **options: Any) -> None:
    """What os.link does on SMB and exFAT."""
    raise OSError(errno.EOPNOTSUPP, "no links here")


@pytest.fixture(params=["links", "no links"], autouse=True)
def _file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule holds with and without hard links."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", without_links)


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A file that is complete and has no final name yet."""
    path = tmp_path / "0.part"
    path.write_bytes(b"new")
    return path


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_name(unfinished: Path, tmp_path: Path, overwrite: bool) -> None:
    """A free name is taken, by the same bytes."""
    publish(str(unfinished), tmp_path / "1.dcm", overwrite=overwrite)
    assert (tmp_path / "1.dcm").read_bytes() == b"new"


def test_the_same_bytes_are_left_alone(unfinished: Path, tmp_path: Path) -> None:
    """A file with the same content keeps its inode: nothing is written."""
    path = tmp_path / "1.dcm"
    path.write_bytes(b"new")
    before = path.stat()
    publish(str(unfinished), path, overwrite=False)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("other", [b"", b"old", b"newer"])
def test_other_bytes_are_a_conflict(unfinished: Path, tmp_path: Path, other: bytes) -> None:
    """Other content, of the same size or another, stays; the message has the name and no folder."""
    path = tmp_path / "1.dcm"
    path.write_bytes(other)
    with pytest.raises(ExistingFileError, match=r"^1\.dcm is there already") as caught:
        publish(str(unfinished), path, overwrite=False)
    assert path.read_bytes() == other
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("at", [0, COMPARED_AT_ONCE - 1, COMPARED_AT_ONCE, 2 * COMPARED_AT_ONCE])
def test_one_byte_makes_other_content(tmp_path: Path, at: int) -> None:
    """Contents are compared to the last byte, over every block's edge."""
    content = bytearray(2 * COMPARED_AT_ONCE + 1)
    unfinished, path = tmp_path / "0.part", tmp_path / "1.dcm"
    unfinished.write_bytes(content)
    path.write_bytes(content)
    publish(str(unfinished), path, overwrite=False)
    content[at] = 1
    path.write_bytes(content)
    with pytest.raises(ExistingFileError):
        publish(str(unfinished), path, overwrite=False)


def test_a_link_under_the_name_is_a_conflict(unfinished: Path, tmp_path: Path) -> None:
    """A symbolic link to equal bytes is still not our file."""
    (tmp_path / "elsewhere").write_bytes(b"new")
    (tmp_path / "1.dcm").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExistingFileError):
        publish(str(unfinished), tmp_path / "1.dcm", overwrite=False)
    assert (tmp_path / "1.dcm").is_symlink()


def test_overwriting_replaces_a_link_and_not_what_it_points_to(unfinished: Path, tmp_path: Path) -> None:
    """With overwrite the name is given to the new file; the link's target keeps its bytes."""
    (tmp_path / "elsewhere").write_bytes(b"old")
    (tmp_path / "1.dcm").symlink_to(tmp_path / "elsewhere")
    publish(str(unfinished), tmp_path / "1.dcm", overwrite=True)
    assert not (tmp_path / "1.dcm").is_symlink()
    assert (tmp_path / "1.dcm").read_bytes() == b"new"
    assert (tmp_path / "elsewhere").read_bytes() == b"old"
