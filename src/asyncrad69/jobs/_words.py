"""The words of a job: the states of an instance, a row, a sum, a share."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from asyncrad69._errors import Rad69Error

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from asyncrad69._references import InstanceReference

#: What has become of an instance: not asked for yet, in its file, refused by the source, or not come.
JobState: TypeAlias = Literal["pending", "done", "refused", "missing"]

STATES: Final[tuple[JobState, ...]] = ("pending", "done", "refused", "missing")


class JobError(Rad69Error):
    """A file is not a job, is there already, or is of another version; or what is asked of a job makes no sense."""

    fatal = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """
    One instance of a job.

    Attributes:
        reference: Which one. It has a repository only if the plan named one.
        state: What has become of it.
        attempts: In how many requests it was asked for, over all runs.
        path: Its file, absolute; ``None`` before there is one.
        size_bytes: The size of the file.
        sha256: Of the file, in hexadecimal; empty before there is one.
        error: The class of the error it ended with last, e.g. ``"XDSMissingDocumentError"``.
        code: The source's code for it, where there is one.
        message: What happened, in words.
        time: When its state was entered, UTC.
    """

    reference: InstanceReference
    state: JobState
    attempts: int = 0
    path: Path | None = None
    size_bytes: int = 0
    sha256: str = ""
    error: str = ""
    code: str = ""
    message: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Something in the plan's input that names no instance: *line* of *file*, or all of it, and why."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """
    The sum of a job, or of one shard of it: every instance in exactly one of four columns.

    Attributes:
        studies: How many there are; so for *series* and *instances*.
        pending: Not asked for yet, or to be asked for again.
        done: In their files, whole and verified when they were written.
        refused: The source said that it would not send them.
        missing: They did not come, without the source saying so.
        done_bytes: The size of the files.
        reasons: How often refused and missing instances ended with which error: class, code and count, the most
            frequent first.
    """

    studies: int
    series: int
    instances: int
    pending: int
    done: int
    refused: int
    missing: int
    done_bytes: int
    reasons: tuple[tuple[str, str, int], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything is in its file."""
        return self.done == self.instances


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One of *count* shares of a job, numbered from 0. A study belongs to the same one wherever it is planned: its number
    is the first four bytes of the SHA-256 of its Study Instance UID, big-endian, modulo *count*.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            count = max(1, self.count)
            raise ValueError(f"shards are numbered from 0: of {count} the last is {count - 1}/{count}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        The shard in ``"i/n"``.

        Raises:
            ValueError: It is none.
        """
        found = _SHARD.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is not a shard: i/n, e.g. 0/4, with i from 0 to n - 1")
        return cls(int(found[1]), int(found[2]))

    def has(self, study_instance_uid: str) -> bool:
        """Whether a study is in it."""
        return study_number(study_instance_uid) % self.count == self.number


_SHARD: Final = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


def study_number(study_instance_uid: str) -> int:
    """What a study's shard is found by: the same for ever, on every machine."""
    return int.from_bytes(hashlib.sha256(study_instance_uid.encode()).digest()[:4])
