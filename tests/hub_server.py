"""A server that answers what `huggingface_hub` asks of the Hub to take a folder, and keeps it."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_owner"
_OID = "0" * 40


class HubServer(ThreadingHTTPServer):
    """The Hub of one owner, as far as a commit needs it.

    Attributes:
        repositories: What was asked when each repository was made, by its name.
        files: What lies in a repository, by `owner/name` and path.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        #: Large files by their SHA-256, which come before the commit that names them.
        self.large: dict[str, bytes] = {}

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Serve on a free port of this machine."""
    with HubServer() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [_way(file["path"]) for file in json.loads(body)["files"]]
            self._answer(200, {"files": files})
        elif match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            self._answer(200, self._upload_actions(json.loads(body)["objects"]))
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404, {"error": self.path})

    def do_PUT(self) -> None:
        oid = self.path.rpartition("/")[2]
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.large[oid] = content
        self._answer(200, {})

    def _create(self, asked: dict[str, Any]) -> None:
        owner, name = asked.get("organization"), asked["name"]
        repository = f"{owner}/{name}"
        if owner != "me":
            self._answer(403, {"error": f"You have no right to make {repository}"})
            return
        self.server.repositories[repository] = asked
        self._answer(200, {"url": f"{self.server.uri}/{repository}"})

    def _upload_actions(self, objects: list[dict[str, Any]]) -> dict[str, Any]:
        actions = [
            {**one, "actions": {"upload": {"href": f"{self.server.uri}/large/{one['oid']}"}}}
            for one in objects
        ]
        return {"transfer": "basic", "objects": actions}

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.server.large[value["oid"]]
            else:
                continue
            self.server.files[repository, value["path"]] = content
        url = f"{self.server.uri}/{repository}/commit/{_OID}"
        self._answer(200, {"commitUrl": url, "commitOid": _OID, "success": True})

    def _answer(self, status: int, data: dict[str, Any]) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _way(path: str) -> dict[str, Any]:
    """Return how a file is to come: large ones beside the commit."""
    large = path.endswith((".safetensors", ".png"))
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
