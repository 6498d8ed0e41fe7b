"""
Bulk retrieves that take days: planned from tables and manifests, run and interrupted at will, reported and verified.

A `Job` is one SQLite file. It knows every instance by name and what has become of it; a run asks for what is not
there. The command line's ``rad69 plan``, ``run``, ``status``, ``report``, ``verify`` and ``merge`` are thin around it.
"""

from typing import TYPE_CHECKING

from asyncrad69._lazy import imported_later

from ._checking import Checked
from ._rules import Rules, Window
from ._words import STATES, JobError, JobRow, JobState, JobStatus, Rejected, Shard

if TYPE_CHECKING:
    from ._job import Job
else:
    __getattr__, __dir__ = imported_later(__name__, {"_job": ("Job",)})

__all__ = [
    "STATES",
    "Checked",
    "Job",
    "JobError",
    "JobRow",
    "JobState",
    "JobStatus",
    "Rejected",
    "Rules",
    "Shard",
    "Window",
]
