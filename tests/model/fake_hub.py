"""A hub on 127.0.0.1: the few answers that looking up and fetching a model takes, from a folder of files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/some-model"
CHUNK = 64 * 1024


@dataclass
class FakeHub:
    """What is served, how fast, and what was asked.

    Attributes
    ----------
    folder : Path
        The files of the one model.
    seconds_per_chunk : float
        How long each 64 KiB take.
    status : int
        200, or what every question about the model is answered with.
    damage : bool
        Whether large files come with a wrong byte.
    """

    folder: Path
    seconds_per_chunk: float = 0.0
    status: int = 200
    damage: bool = False
    gated: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def sent(self, method: str, file: str) -> list[str]:
        """The ranges that were asked of ``file``."""
        return [header for m, path, header in self.asked if m == method and path.endswith(file)]


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            if hub.status != 200 or REPO not in path:
                missing = hub.status in (200, 404)
                self._refuse(404 if missing else hub.status, "RepoNotFound" if missing else "")
            elif path.startswith("/api/"):
                self._send(json.dumps(_info(hub.folder)).encode(), {"Content-Type": "application/json"}, body)
            elif hub.gated and not path.endswith("config.json"):
                self._refuse(403, "GatedRepo")
            else:
                self._file(hub.folder / path.rsplit("/", 1)[1], body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _file(self, file: Path, body: bool) -> None:
            if not file.is_file():
                self._refuse(404, "EntryNotFound")
                return
            content = file.read_bytes()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"', "Accept-Ranges": "bytes"}
            if hub.damage and len(content) > 10_000 and file.suffix == ".safetensors":
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
            self._send(content[start:], headers, body, partial=start > 0, whole=len(content))

        def _send(
            self,
            content: bytes,
            headers: dict[str, str],
            body: bool,
            *,
            partial: bool = False,
            whole: int = 0,
        ) -> None:
            self.send_response(206 if partial else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            if partial:
                self.send_header("Content-Range", f"bytes {whole - len(content)}-{whole - 1}/{whole}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return
            try:
                for start in range(0, len(content), CHUNK):
                    self.wfile.write(content[start : start + CHUNK])
                    hub.sent_bytes += len(content[start : start + CHUNK])
                    time.sleep(hub.seconds_per_chunk)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _info(folder: Path) -> dict[str, Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "id": REPO,
        "modelId": REPO,
        "sha": COMMIT,
        "private": False,
        "gated": False,
        "cardData": {"license": "apache-2.0"},
        "siblings": [{"rfilename": path.name, "size": path.stat().st_size} for path in files]
        + [{"rfilename": "onnx/model.onnx", "size": 10**9}],
    }


@contextmanager
def serve(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Serve ``folder`` as the one model of a hub that the library believes in meanwhile."""
    from huggingface_hub import constants

    hub = FakeHub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
