"""An HTTP server that sends a list of replies and records the requests."""

import json
import threading
from collections.abc import Callable, Sequence
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
    """One HTTP reply."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def completion(content: Any = PROFILE_TEXT, reason: Any = "stop", **fields: Any) -> Reply:
    """A chat completion with that content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}
    return Reply(json.dumps({"choices": [choice], **fields}).encode())


@dataclass(frozen=True)
class RecordedRequest:
    """One HTTP request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ManyClients(ThreadingHTTPServer):
    """Accepts connections that come at once."""

    request_queue_size = 64


class ScriptedServer:
    """Sends its replies in order, the last one again and again."""

    def __init__(self, *replies: Reply) -> None:
        self.replies: Sequence[Reply] = replies or (completion(),)
        self.requests: list[RecordedRequest] = []

    def __enter__(self) -> "ScriptedServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send(server.reply_to(RecordedRequest(self.path, headers, body)))

            def send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
                for name, value in (headers | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):  # the client may have read enough
                    self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self.http = ManyClients(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def reply_to(self, request: RecordedRequest) -> Reply:
        """Record a request, and choose its reply."""
        self.requests.append(request)
        return self.replies[min(len(self.requests), len(self.replies)) - 1]

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def address(self) -> ServerAddress:
        """The server's address."""
        return ServerAddress(f"http://127.0.0.1:{self.http.server_port}/v1", "a-key", "house", 4)


class AnsweringServer(ScriptedServer):
    """A scripted server whose replies depend on the request."""

    def __init__(self, answer: Callable[[RecordedRequest], Reply]) -> None:
        super().__init__()
        self.answer = answer

    def reply_to(self, request: RecordedRequest) -> Reply:
        """Record a request, and choose its reply."""
        self.requests.append(request)
        return self.answer(request)
