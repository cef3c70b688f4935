"""A server that answers as its script says and keeps what it was asked."""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from actors.servers.supervisor import ServerAddress
from extraction.schema.company import ShortProfile

PROFILE: dict[str, Any] = dict.fromkeys(ShortProfile.model_fields) | {
    "name": "Acme",
    "founded_year": 1987,
    "products": [],
}
PROFILE_TEXT = json.dumps(PROFILE)


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def completion(content: Any = PROFILE_TEXT, reason: Any = "stop", **more: Any) -> Reply:
    """A chat completion with that content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}
    return Reply(json.dumps({"choices": [choice], **more}).encode())


@dataclass(frozen=True)
class Asked:
    """One HTTP request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ScriptedServer:
    """Gives its replies one after the other, the last one again and again."""

    def __init__(self, *replies: Reply) -> None:
        self.replies: Sequence[Reply] = replies or (completion(),)
        self.asked: list[Asked] = []

    def __enter__(self) -> "ScriptedServer":
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.asked.append(Asked(self.path, headers, body))
                self.answer(script.replies[min(len(script.asked), len(script.replies)) - 1])

            def answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
                for name, value in (headers | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):  # who asked may have read enough
                    self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def address(self) -> ServerAddress:
        """Where it is asked."""
        return ServerAddress(f"http://127.0.0.1:{self.http.server_port}/v1", "a-key", "house", 4)
