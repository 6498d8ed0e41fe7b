"""`Job`: a bulk retrieve that lives in a file, from its plan to its proof."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, Unpack

from asyncrad69._references import references_from
from asyncrad69._threads import in_thread

from ._checking import Checked, ask_again as let_ask_again, check
from ._export import status_dict, write_csv, write_json
from ._merging import merge
from ._planning import plan_file
from ._rules import Rules
from ._run import Runner
from ._store import Store
from ._turn import turn
from ._words import STATES, JobError, JobRow, JobState, JobStatus, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from asyncrad69._client import AsyncRad69
    from asyncrad69._download import Durability, Existing
    from asyncrad69._options import RetrieveOptions
    from asyncrad69._references import References

    from ._words import Shard


class Job:
    """
    A bulk retrieve. Everything about it is in one file, which a kill at any moment leaves in order.

        with Job.plan("job.db", files=["references.csv"]) as job:
            async with AsyncRad69(url, repository_unique_id="1.2.3") as rad69:
                status = await job.run(rad69, "images")

    All of it blocks but `run`. No method but `rejected` holds more than a part of the job in memory.

    Args:
        path: A file that `Job.plan` made.

    Raises:
        JobError: It is not there, not a job, or made by another version.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._store = Store(Path(path))
        self._runner: Runner | None = None

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """The job in the file *path*."""
        return cls(path)

    @classmethod
    def plan(
        cls,
        path: str | PathLike[str],
        *,
        files: Iterable[str | PathLike[str]] = (),
        references: References = (),
        shard: Shard | None = None,
        rejected: bool = False,
    ) -> Self:
        """
        A new job.

        An instance that is named twice is planned once. What cannot be planned does not keep the rest from being
        planned; see `Job.rejected`.

        Args:
            path: The file to make.
            files: Key Object Selections, and tables as `asyncrad69.references_from_table` reads them.
            references: As for `AsyncRad69.datasets`.
            shard: Plan only the studies that are in it.
            rejected: Whether to plan what rejection notes among *files* list, which is withdrawn and not for
                clinical use.

        Raises:
            JobError: There is such a file, or nothing names an instance.
            InvalidReferenceError: *references* do not name instances.
            StorageError: A file cannot be read, or the job's not be written.
        """
        named = references_from(references)
        with Store.create(Path(path)) as store:
            store.add(each for each in named if shard is None or shard.has(each.study_instance_uid))
            for file in files:
                plan_file(store, Path(file), shard, rejected=rejected)
            if not store.status().instances:
                raise JobError(_nothing(store.rejected()))
        return cls(path)

    @classmethod
    def merge(cls, jobs: Iterable[str | PathLike[str]], path: str | PathLike[str]) -> Self:
        """
        A new job with everything that *jobs* have, such as the shards of one.

        What several of them have is in it once, as that which got furthest: a file, a refusal, a loss.

        Args:
            jobs: Files of jobs; they stay as they are.
            path: The file to make.

        Raises:
            JobError: One of them is no job, they contradict each other about an instance, or *path* is taken.
        """
        with Store.create(Path(path)) as store:
            for each in jobs:
                merge(store, Path(each))
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file up. Does nothing the second time."""
        self._store.close()

    # --- running

    async def run(
        self,
        client: AsyncRad69,
        target: str | PathLike[str],
        *,
        shard: Shard | None = None,
        rules: Rules | None = None,
        existing: Existing = "skip",
        durability: Durability = "none",
        on_wait: Callable[[str], None] | None = None,
        **options: Unpack[RetrieveOptions],
    ) -> JobStatus:
        """
        Ask for what is pending and for what was missing before, and write it to files.

        Every file is entered in the job as it is written. A run that is killed, cancelled or stopped loses at most what
        is in flight; the next one goes on.

        Args:
            client: Open. A run is a retrieve for a batch of series after the other, with the client's concurrency.
            target: As for `AsyncRad69.download`.
            shard: Ask only for the studies that are in it.
            rules: When to ask, and when to end early; see `Rules`.
            existing: As for `AsyncRad69.download`, as is *durability*; about files of what is pending.
            on_wait: Told, on the event loop, why the run waits: for its window, for room, for the source.
            **options: Override the client's. ``on_event`` is told everything but `RetrieveFinished`.

        Returns:
            The status of the job, or of the shard: read ``complete``.

        Raises:
            Rad69Error: What concerns the endpoint as a whole, or the disk (`StorageError`). Of several endpoints the
                others are asked for all of theirs first.
            JobError: Another process runs the job, or the same shard of it.
            RuntimeError: This object is running it.
        """
        if self._runner is not None:
            raise RuntimeError("this job is running: open it once more for another run")
        runner = self._runner = Runner(
            store=self._store,
            client=client,
            target=target,
            # What is lost is in the job; no error has to say so.
            options=client.options.override({**options, "on_failure": "report"}),
            shard=shard,
            rules=rules or Rules(),
            existing=existing,
            durability=durability,
            on_wait=on_wait or (lambda _: None),
        )
        try:
            runner.options = replace(runner.options, on_event=runner.watch(runner.options.on_event))
            with turn(self._store.path, shard):
                await runner.run()
        finally:
            self._runner = None
        return await in_thread(partial(self.status, shard))

    def stop(self) -> None:
        """Let a run ask for nothing more: it ends when what is in flight is written. Call it on its event loop."""
        if self._runner is not None:
            self._runner.stop()

    # --- reading

    def status(self, shard: Shard | None = None) -> JobStatus:
        """How far it is, or one shard of it."""
        return self._store.status(shard)

    def rejected(self) -> list[Rejected]:
        """What of the plan's input names no instance, in its order."""
        return self._store.rejected()

    def rows(self, states: Iterable[JobState] = STATES) -> Iterator[JobRow]:
        """Its instances, series by series, read as they are taken."""
        return self._store.rows(states)

    # --- proof

    def verify(self, *, ask_again: bool = False) -> Iterator[Checked]:
        """
        Read every file anew and compare it with the SHA-256 of what was written.

        Args:
            ask_again: Let the next run ask for what is gone or has changed. A changed file is kept as
                ``NAME.changed``, the next one of that name as ``NAME.changed.2``. It is entered when the iteration is
                over.

        Raises:
            StorageError: A file cannot be renamed.
        """
        flawed = []
        for each in check(self._store):
            if each.flaw is not None:
                flawed.append(each)
            yield each
        if ask_again:
            let_ask_again(self._store, flawed)

    def write_csv(self, file: IO[str], states: Iterable[JobState] = STATES) -> None:
        """
        A line for each instance in *states*. Its columns are those of a table of references, and more: what is
        missing can be planned again.
        """
        write_csv(self.rows(states), file)

    def write_json(self, file: IO[str], states: Iterable[JobState] = STATES) -> None:
        """One object: the status, what was rejected, and under ``"rows"`` an object for each instance in *states*."""
        summary = {**status_dict(self.status()), "rejected": [asdict(each) for each in self.rejected()]}
        write_json(self.rows(states), summary, file)


def _nothing(rejected: list[Rejected]) -> str:
    why = f": {rejected[0]}" if rejected else ""
    more = f", and {len(rejected) - 1} more like it" if len(rejected) > 1 else ""
    return f"nothing to plan{why}{more}"
