"""
The report as one page that a radiology department can read: no script, nothing loaded from elsewhere, prints.

`html_report` makes it, from a `ReportRow` for each instance.
"""

from ._page import html_report
from ._rows import Outcome, ReportRow

__all__ = ["Outcome", "ReportRow", "html_report"]
