"""One run at a time of a job, or of each of its shards. Blocks."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from asyncrad69._errors import unwritable

from ._words import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._words import Shard

try:
    import fcntl
except ImportError:  # Windows: two runs there do the same work twice, and no harm
    fcntl = None  # type: ignore[assignment]


@contextmanager
def turn(job: Path, shard: Shard | None) -> Iterator[None]:
    """
    Hold the job: all of it, or together with runs of other shards. The system lets go of it when the process ends.

    Raises:
        JobError: Another process runs it.
        StorageError: A file beside the job cannot be written.
    """
    with ExitStack() as stack:
        # Files of their own: to close one of SQLite's would take its locks away.
        _hold(stack, job.with_name(f"{job.name}.lock"), alone=shard is None)
        if shard is not None:
            _hold(stack, job.with_name(f"{job.name}.{shard.number}-of-{shard.count}.lock"), alone=True)
        yield


def _hold(stack: ExitStack, path: Path, *, alone: bool) -> None:
    if fcntl is None:
        return
    try:
        file = stack.enter_context(path.open("ab"))
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JobError("the job is running already", hint="Wait for that run, or run other shards.") from None
    except OSError as exc:
        raise unwritable(path, exc) from exc
