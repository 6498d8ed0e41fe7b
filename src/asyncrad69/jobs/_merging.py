"""Jobs that were run apart, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._schema import SERIES_KEY
from ._words import JobError

if TYPE_CHECKING:
    from pathlib import Path

    from ._store import Store

_OUTCOME: Final = ("state", "root", "path", "size_bytes", "sha256", "error", "code", "message", "time")

# Of two rows for one instance that which got further stays: a file, what the source said, anything that happened.
_RANK: Final = "CASE {}.state WHEN 'done' THEN 3 WHEN 'refused' THEN 2 WHEN 'missing' THEN 1 ELSE 0 END"
_FURTHER: Final = f"{_RANK.format('excluded')} > {_RANK.format('instance')}"
_BETTER: Final = ", ".join(
    f"{name} = CASE WHEN {_FURTHER} THEN excluded.{name} ELSE instance.{name} END" for name in _OUTCOME
)

_ROOTS: Final = "INSERT OR IGNORE INTO root (path) SELECT path FROM other.root"
_SERIES: Final = f"""
    INSERT OR IGNORE INTO series ({SERIES_KEY}, study_number)
    SELECT {SERIES_KEY}, study_number FROM other.series ORDER BY id
"""
_INSTANCES: Final = f"""
    INSERT INTO instance (series, sop_instance_uid, attempts, {", ".join(_OUTCOME)})
    SELECT here.id, theirs.sop_instance_uid, theirs.attempts, theirs.state, root.id, theirs.path, theirs.size_bytes,
           theirs.sha256, theirs.error, theirs.code, theirs.message, theirs.time
    FROM other.instance AS theirs
    JOIN other.series AS there ON there.id = theirs.series
    JOIN series AS here USING ({SERIES_KEY})
    LEFT JOIN other.root AS below ON below.id = theirs.root
    LEFT JOIN root ON root.path = below.path
    WHERE TRUE ORDER BY theirs.id
    ON CONFLICT (sop_instance_uid) DO UPDATE SET attempts = max(instance.attempts, excluded.attempts), {_BETTER}
"""
_REJECTED: Final = """
    INSERT INTO rejected (file, line, reason)
    SELECT file, line, reason FROM other.rejected AS theirs
    WHERE NOT EXISTS (
        SELECT 1 FROM rejected AS ours
        WHERE ours.file = theirs.file AND ours.line IS theirs.line AND ours.reason = theirs.reason
    )
    ORDER BY theirs.id
"""
_MISPLACED: Final = """
    SELECT count(*)
    FROM other.instance AS theirs
    JOIN other.series AS there ON there.id = theirs.series
    JOIN main.instance AS ours ON ours.sop_instance_uid = theirs.sop_instance_uid
    JOIN main.series AS here ON here.id = ours.series
    WHERE (here.study_instance_uid, here.series_instance_uid)
        <> (there.study_instance_uid, there.series_instance_uid)
"""


def merge(store: Store, other: Path) -> None:
    """
    Take over what *other* has, in one transaction.

    Raises:
        JobError: It is no job, or has an instance in another study or series.
    """
    with store.attached(other) as connection:
        [(misplaced,)] = connection.execute(_MISPLACED)
        if misplaced:
            raise JobError(f"{other.name} has {misplaced} instances in other studies or series than the jobs before it")
        for statement in (_ROOTS, _SERIES, _INSTANCES, _REJECTED):
            connection.execute(statement)
