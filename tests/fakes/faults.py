"""Selects the fault of a request (by a marker in its text, or by order) and applies it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psutil
from aiohttp import web

from tests.fakes.completions import Completion

MARKER = re.compile(r"\[\[fault:(?P<name>\w+)(?:=(?P<value>[^\]*]+))?(?:\*(?P<count>\d+))?\]\]")
REFUSALS = {  # name -> status, type, message
    "400": (
        400,
        "BadRequestError",
        "The input (40000 tokens) is longer than the model's context length (32768 tokens).",
    ),
    "401": (401, "Unauthorized", "Unauthorized"),
    "403": (403, "PermissionDeniedError", "The request was blocked by a content policy."),
    "404": (404, "NotFoundError", "The model does not exist."),
    "429": (429, "RateLimitError", "Too many requests."),
    "500": (500, "InternalServerError", "Internal server error."),
    "503": (503, "503", "The request queue is full."),
    "error_body": (200, "InternalServerError", "Internal server error."),
}
SPOILERS = ("truncated", "invalid", "wrong_schema", "abort", "whitespace", "loop")
BREAKERS = ("reset", "malformed", "wrong_length")
TRICKLES = ("slow_loris", "huge")
ENDINGS = ("crash", "exit0", "kill_actor")
WAITS = ("delay", "hang", "wedge")
NUMERIC = ("delay", "slow_loris", "huge")
NAMES = frozenset([*REFUSALS, *SPOILERS, *BREAKERS, *TRICKLES, *ENDINGS, *WAITS])


@dataclass(frozen=True)
class Fault:
    """One fault of one request, with its value."""

    name: str
    value: str | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown fault {self.name!r}; known: {', '.join(sorted(NAMES))}")
        if self.name in NUMERIC and self.value is not None:
            float(self.value)

    def number(self, default: float) -> float:
        """The value as a number."""
        return default if self.value is None else float(self.value)


@dataclass
class Order:
    """A fault for the next `count` requests (None: all), once `after` requests have passed."""

    fault: Fault
    count: int | None
    after: int

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Order:
        """The order in one JSON object, or ValueError."""
        unknown = set(data) - {"fault", "count", "value", "after"}
        if unknown or "fault" not in data:
            raise ValueError(f"an order has fault, count, value and after, not {sorted(data)}")
        value = data.get("value")
        count = data.get("count", 1)
        fault = Fault(str(data["fault"]), None if value is None else str(value))
        return cls(fault, None if count is None else int(count), int(data.get("after", 0)))


class FaultPlan:
    """The ordered faults, which are used up one after the other, and the used markers."""

    def __init__(self) -> None:
        self.orders: deque[Order] = deque()
        self.spent: Counter[tuple[str, str]] = Counter()

    def add(self, orders: Any) -> None:
        """Append orders; an empty list clears those that are pending."""
        if not isinstance(orders, list):
            raise ValueError("orders are a JSON list of objects")
        parsed = [Order.parse(order) for order in orders]
        if not parsed:
            self.orders.clear()
        self.orders.extend(order for order in parsed if order.count != 0)

    def next_fault(self, text: str) -> Fault | None:
        """The fault of this request; an order takes precedence over a marker."""
        fault = self._ordered() or self._marked(text)
        if fault and fault.name == "wedge":  # all later requests hang too
            self.orders = deque([Order(Fault("hang"), None, 0)])
        return fault

    def _ordered(self) -> Fault | None:
        if not self.orders:
            return None
        order = self.orders[0]
        if order.after > 0:
            order.after -= 1
            return None
        if order.count is not None:
            order.count -= 1
            if order.count == 0:
                self.orders.popleft()
        return order.fault

    def _marked(self, text: str) -> Fault | None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        for match in MARKER.finditer(text):
            fault = Fault(match["name"], match["value"])
            key = (match[0], digest)
            if match["count"] is None or self.spent[key] < int(match["count"]):
                self.spent[key] += 1
                return fault
        return None


def without_markers(text: str) -> str:
    """The text that answers are made of, so that a marker's own words and numbers never get in."""
    return MARKER.sub("\n", text)


def error(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error body as SGLang writes it: flat, but for the key check, which has a body of its own."""
    flat = {"object": "error", "message": message, "type": kind, "param": None, "code": status}
    body = {"error": "Unauthorized"} if status == 401 else flat
    return web.json_response(body, status=status, headers=headers)


def refusal(fault: Fault) -> web.Response:
    """The HTTP error that the fault stands for; its value is the Retry-After header."""
    status, kind, message = REFUSALS[fault.name]
    return error(status, kind, message, {"Retry-After": fault.value} if fault.value else None)


def end_process(fault: Fault) -> None:
    """End this process at once, with nothing tidied up."""
    if fault.name == "crash":
        os.abort()
    if fault.name == "exit0":
        os._exit(0)
    if fault.name == "kill_actor":
        next(process for process in psutil.Process().parents() if process.name().startswith("ray::")).kill()
    os.kill(os.getpid(), signal.SIGKILL)


async def wait(fault: Fault) -> None:
    """Hold the request back: for a while, or until the client goes."""
    if fault.name in ("hang", "wedge"):
        await asyncio.Event().wait()
    await asyncio.sleep(fault.number(1.0))


def spoil(fault: Fault, completion: Completion) -> Completion:
    """The completion with the text of a model that failed in that way."""
    text = completion.content
    if fault.name == "truncated":
        return completion.spoiled(text[: len(text) // 2], "length")
    if fault.name == "invalid":
        return completion.spoiled("Sure! Here is the profile: name = unknown,", "stop")
    if fault.name == "wrong_schema":
        return completion.spoiled(json.dumps({"unexpected": True}), "stop")
    if fault.name == "abort":
        return completion.spoiled(text[: len(text) // 3], "abort")
    if fault.name == "whitespace":
        return completion.spoiled(" " * 2000, "length")
    start = re.match(r'.*?(?<=: )"', text, re.DOTALL)
    return completion.spoiled((start[0] if start else '{"text": "') + "1.0." * 400, "length")


async def break_off(fault: Fault, request: web.Request, body: bytes, kind: str) -> web.Response:
    """Send a broken HTTP answer straight to the socket, and close it."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    length = len(body) * (2 if fault.name == "wrong_length" else 1)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
    if fault.name == "malformed":
        transport.write(b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n")
    elif fault.name == "wrong_length":
        transport.write(head + body)
    else:
        transport.write(head + body[: len(body) // 2])
        await asyncio.sleep(0.05)  # the reset must come after the bytes, or it overtakes them
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.close()
    return web.Response()  # never sent: the connection is closed


async def stretched(fault: Fault | None, pieces: list[bytes]) -> AsyncIterator[bytes]:
    """The pieces of the body; as single bytes, or after mebibytes of blanks, where the fault says so."""
    if fault and fault.name == "slow_loris":
        for byte in b"".join(pieces):
            yield bytes([byte])
            await asyncio.sleep(fault.number(1.0))
        return
    if fault and fault.name == "huge":
        stream = pieces[0].startswith(b"data:")
        blanks = b":" + b" " * 65534 + b"\n" if stream else b" " * 65536
        for _ in range(int(fault.number(64) * 16)):
            yield blanks
    for piece in pieces:
        yield piece
