"""
A progress line from the event stream, without a library for it.

    python examples/progress.py URL TABLE
"""

from __future__ import annotations

import sys

from asyncrad69 import Event, InstanceFailed, InstanceVerified, Rad69, RetryScheduled, references_from_table


class Progress:
    """Counts what happens."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.failed = 0
        self.retries = 0

    def __call__(self, event: Event) -> None:
        """Called on the client's event loop: it must not block."""
        match event:
            case InstanceVerified():
                self.done += 1
            case InstanceFailed():
                self.failed += 1
            case RetryScheduled():
                self.retries += 1
        print(f"\r{self.done} of {self.total}, {self.failed} failed, {self.retries} retries", end="", file=sys.stderr)


def main(url: str, table: str) -> None:
    """Retrieve and watch."""
    references = references_from_table(table)
    progress = Progress(len(references))
    with Rad69(url, on_event=progress) as rad69:
        for _ in rad69.instances(references):
            pass
    print(f"\n{progress.done} of {progress.total}")


if __name__ == "__main__":
    main(*sys.argv[1:])
