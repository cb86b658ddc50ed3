"""A hub of our own: what the hub's client asks for, answered from a folder."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from huggingface_hub import constants, file_download

COMMITS = ("abcdef0123456789abcdef0123456789abcdef01", "5967efc89bd1e6aa1297fa0b1d40aa2ad1d7d4dd")


@contextmanager
def serving(files: Mapping[str, bytes], *, wrong_digests: bool = False, licence: str | None = "mit") -> Iterator[Any]:
    """An endpoint that has ``files`` in every repository, at both ``COMMITS``; gives its server, with ``asked``.

    ``wrong_digests``: it names other checksums than its files have. ``server.cut`` breaks a download after as many
    bytes.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            server.asked.append(path)
            if server.missing and path.startswith("/api/"):
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path.endswith("/commits/main"):
                commits = [
                    {"id": c, "authors": [], "date": "2025-01-01T00:00:00.000Z", "title": "", "message": ""}
                    for c in COMMITS
                ]
                self.send(json.dumps(commits).encode(), body)
            elif path.startswith("/api/models/"):
                revision = path.rpartition("/revision/")[2]
                sha = revision if revision in COMMITS else COMMITS[0]
                card = {"license": licence} if licence else {}
                content = {
                    "id": "a/b",
                    "sha": sha,
                    "siblings": [self.sibling(name) for name in files],
                    "cardData": card,
                }
                self.send(json.dumps(content).encode(), body)
            elif path.rpartition("/resolve/")[2].partition("/")[2] in files:
                self.send_file(path.rpartition("/resolve/")[2], body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def sibling(self, name: str) -> dict[str, Any]:
            digest = hashlib.sha256(files[name] + b"x" * wrong_digests).hexdigest()
            large = {"sha256": digest, "size": len(files[name]), "pointerSize": 1}
            return {"rfilename": name, "size": len(files[name]), **({} if name.endswith(".json") else {"lfs": large})}

        def send(self, data: bytes, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def send_file(self, tail: str, body: bool) -> None:
            revision, _, name = tail.partition("/")
            data = files[name]
            first = 0
            if asked := self.headers.get("Range"):
                first = int(asked.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if asked else 200)
            self.send_header("X-Repo-Commit", revision if revision in COMMITS else COMMITS[0])
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data) - first))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if body:
                server.fetched.append(name)
                self.wfile.write(data[first : server.cut])
                if server.cut is not None:
                    self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        asked: list[str]
        url: str
        cut: int | None = None
        missing = False
        fetched: list[str]

    server = Server(("127.0.0.1", 0), Handler)
    server.fetched = []
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Have the hub's client ask there; it reads its address when it is imported."""
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", files, raising=False)  # its copy before 1.0
