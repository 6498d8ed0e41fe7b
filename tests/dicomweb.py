"""A DICOMweb archive on loopback that answers QIDO-RS searches for instances."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from asyncrad69 import InstanceReference


def row(reference: InstanceReference) -> dict[str, Any]:
    """An instance in DICOM JSON, with an attribute nobody asked for."""
    return {
        "0020000D": {"vr": "UI", "Value": [reference.study_instance_uid]},
        "0020000E": {"vr": "UI", "Value": [reference.series_instance_uid]},
        "00080018": {"vr": "UI", "Value": [reference.sop_instance_uid]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Nobody"}]},
    }


class DicomWebArchive:
    """
    Holds *references*; answers the rest, and everything if *status* is not 200, with that status.

    Attributes:
        headers: Those of each request, in lower case.
    """

    def __init__(self, references: tuple[InstanceReference, ...], *, status: int = 200) -> None:
        archive = self
        self.headers: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive.headers.append({name.lower(): value for name, value in self.headers.items()})
                parts = urlsplit(self.path)
                query = {name: int(value[0]) for name, value in parse_qs(parts.query).items() if name != "includefield"}
                found = [each for each in references if f"/studies/{each.study_instance_uid}/" in parts.path]
                page = found[query["offset"] : query["offset"] + query["limit"]]
                body = json.dumps([row(each) for each in page]).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The service's root."""
        return f"http://127.0.0.1:{self._server.server_port}/dicom-web"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
