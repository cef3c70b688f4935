"""A server that answers at once: as little of it as HTTP and the API ask for, so that what asks is measured.

It gives the same reply to every chat request, after a latency in seconds for each token that the answer may have,
and says at /stats when the second and the last one came, by its monotonic clock.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any, Self

from actors.servers.supervisor import DIRECT, ServerAddress

MODEL, KEY = "instant", "none"
END = b"\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
SAMPLES = {"string": "Alder & Finch Ltd", "integer": 1998, "number": 1.5, "boolean": True, "null": None}
MAX_TOKENS = re.compile(rb'"max_tokens": *(\d+)')


class Protocol(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after the other."""

    def __init__(self, reply: bytes, latency_s: float, times: list[float]) -> None:
        self.reply, self.latency_s, self.times = reply, latency_s, times
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep where replies go."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self.buffer += data
        while (head := self.buffer.find(END)) >= 0:
            header = LENGTH.search(self.buffer, 0, head)
            length = int(header[1]) if header else 0
            if len(self.buffer) < head + len(END) + length:
                return
            stats = self.buffer.startswith(b"GET")
            tokens = MAX_TOKENS.search(self.buffer, head, head + len(END) + length) if self.latency_s else None
            latency_s = self.latency_s * int(tokens[1]) if tokens else self.latency_s
            del self.buffer[: head + len(END) + length]
            if stats:
                self._send(response(json.dumps(self._stats()).encode()))
            else:
                self.times.append(time.monotonic())
                if latency_s:
                    asyncio.get_running_loop().call_later(latency_s, self._send, self.reply)
                else:
                    self._send(self.reply)

    def _send(self, reply: bytes) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.write(reply)

    def _stats(self) -> dict[str, Any]:
        times = self.times[1:]  # the first is a warm-up, or as good as one
        return {"requests": len(self.times), "first": times[0] if times else 0, "last": times[-1] if times else 0}


def response(body: bytes) -> bytes:
    """HTTP around a JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def completion(text: str) -> bytes:
    """The reply to a chat request."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 500}}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL}
    return response(json.dumps({**head, "choices": [choice], "usage": usage}).encode())


class InstantServer:
    """The server in a process of its own, for the length of a `with` block."""

    def __init__(self, reply: str, latency_s: float) -> None:
        command = [sys.executable, "-m", "jobs.benchmarks.instant_server", str(latency_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(reply.encode())
        self._process.stdin.close()
        self.root = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def address(self, limit: int) -> ServerAddress:
        """Where it is asked."""
        return ServerAddress(f"{self.root}/v1", KEY, MODEL, limit)

    def stats(self) -> dict[str, Any]:
        """Requests so far, and when the second and the last one came."""
        with DIRECT.open(urllib.request.Request(f"{self.root}/stats"), timeout=30) as reply:
            stats: dict[str, Any] = json.loads(reply.read())
        return stats


def sampled(schema: dict[str, Any]) -> Any:
    """A value of a JSON schema: every property, one item in each list."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return sampled(option)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sampled(each) for name, each in schema["properties"].items()}
    return [sampled(schema["items"])] if kind == "array" else SAMPLES[kind]


async def serve(reply: bytes, latency_s: float) -> None:
    """Serve on a port of loopback, which is printed, until the process is killed."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(reply, latency_s, times), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """The reply's text comes through standard input, the latency as the argument."""
    asyncio.run(serve(completion(sys.stdin.read()), float(sys.argv[1])))


if __name__ == "__main__":
    main()
