"""Every reader of foreign bytes, fed with what no sane peer sends."""

from __future__ import annotations

import hashlib
import os
import random
import warnings
from pathlib import Path

import pytest

from .targets import EXECUTED, TARGETS, Target, corpus

#: All targets together; ``nox -s fuzz`` takes 1,000,000.
EXECUTIONS = int(os.environ.get("RAD69_FUZZ_EXECUTIONS", "20000"))
SEED = int(os.environ.get("RAD69_TEST_SEED", "20261124"))

_SHARES = sum(target.share for target in TARGETS)
_BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_declared_errors(target: Target) -> None:
    """Words and damaged examples, seeded: the reader raises nothing but what it declares, and never hangs."""
    executions = int(EXECUTIONS * target.share / _SHARES)
    chance = random.Random(f"{target.name} {SEED}")
    for _ in range(executions):
        _execute(target, target.grammar.input(chance))
        EXECUTED[target.name] += 1


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """An input that was answered wrongly once; the name of its file says by which reader."""
    name, _, _ = path.stem.rpartition("-")
    _execute(_BY_NAME[name], path.read_bytes())


def _execute(target: Target, data: bytes) -> None:
    # What the reader draws depends on its input alone, so that a file of the corpus repeats it.
    chance = random.Random(hashlib.sha256(data).digest())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, about damaged values
            target.run(data, chance)
    except Exception as exc:
        folder = os.environ.get("RAD69_FUZZ_SAVE")
        if folder:
            Path(folder, f"{target.name}-{hashlib.sha256(data).hexdigest()[:8]}.bin").write_bytes(data)
        exc.add_note(f"input of {len(data)} bytes: {data[:300]!r}; RAD69_FUZZ_SAVE=<folder> keeps it whole")
        raise
