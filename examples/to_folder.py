"""
Fill a folder, and say what is missing. Run it again after an interruption: it asks for what is not there.

    python examples/to_folder.py URL TABLE FOLDER
"""

from __future__ import annotations

import sys

from asyncrad69 import Rad69, references_from_table


def main(url: str, table: str, folder: str) -> int:
    """The exit code: 0 if everything is there."""
    with Rad69(url) as rad69:
        report = rad69.download(references_from_table(table), folder, on_failure="report")
    print(report)
    for row in (*report.refused, *report.missing):
        print(row.reference.sop_instance_uid, row.error)
    return 0 if report.complete else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
