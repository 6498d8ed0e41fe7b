"""
Bulk retrieves that take days: planned from tables and manifests, run and interrupted at will, reported and verified.

A `Job` is one SQLite file. It knows every instance by name and what has become of it; a run asks for what is not
there. The command line's ``rad69 plan``, ``run``, ``status``, ``report``, ``verify`` and ``merge`` are thin around it.
"""

from ._checking import Checked
from ._job import Job
from ._rules import Rules, Window
from ._words import STATES, JobError, JobRow, JobState, JobStatus, Rejected, Shard

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
