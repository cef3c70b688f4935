"""The fake inference server: a real process that answers like SGLang and misbehaves to order.

Start it with `python -m tests.fakes.server --port N` from the root of the checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import ipaddress
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.fakes import faults
from tests.fakes.answers import Ask, Completion
from tests.fakes.faults import Fault, FaultBook

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FLAGS: list[tuple[str, Callable[[str], Any], Any]] = [
    ("config", Path, None),
    ("port", int, 30000),
    ("host", str, "127.0.0.1"),
    ("served-model-name", str, None),
    ("api-key", str, None),
    ("admin-api-key", str, None),
    ("journal", Path, None),
    ("latency", float, 0.0),
    ("max-running-requests", int, 64),
    ("crash-after", int, None),
    ("exit-zero-after", int, None),
    ("start-delay", float, 0.0),
    ("fail-start", str, None),
    ("order", str, "[]"),
]
SLEEPER = """
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
while os.getppid() == int(sys.argv[1]):
    time.sleep(1)
"""


class Ledger:
    """The count of what came and went, and the journal of it that outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("ab", buffering=0) if path else None
        self.requests = self.in_flight = self.most = 0
        self.by_status: Counter[str] = Counter()

    def arrive(self, text: str) -> Ticket:
        """Note a request at its arrival."""
        self.requests += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        ticket = Ticket(self, self.requests, hashlib.sha256(text.encode()).hexdigest())
        self.write("request", ticket)
        return ticket

    def write(self, event: str, ticket: Ticket, **more: Any) -> None:
        """Append one journal line in one write, so that a kill never cuts it."""
        if self.file:
            row = {"event": event, "id": ticket.number, "sha": ticket.sha, "t": time.monotonic(), **more}
            self.file.write(json.dumps({**row, "pid": os.getpid()}).encode() + b"\n")

    def stats(self) -> dict[str, Any]:
        """The counts as /stats gives them."""
        return {
            "requests": self.requests,
            "answered": sum(n for status, n in self.by_status.items() if status != "broken"),
            "in_flight": self.in_flight,
            "max_in_flight": self.most,
            "by_status": dict(self.by_status),
        }


class Ticket:
    """One request from arrival to end; only its first end counts."""

    def __init__(self, ledger: Ledger, number: int, sha: str) -> None:
        self.ledger = ledger
        self.number = number
        self.sha = sha
        self.open = True

    def answer(self, status: int, finish: str | None, fault: Fault | None) -> None:
        """Note a whole HTTP answer; called before its last byte, so that who has it finds it noted."""
        self._end("answer", str(status), status=status, finish_reason=finish, fault=fault and fault.name)

    def broken(self, fault: Fault | None) -> None:
        """Note that no whole answer was sent: a fault broke it off, or the client went."""
        self._end("broken", "broken", fault=fault and fault.name)

    def _end(self, event: str, key: str, **more: Any) -> None:
        if self.open:
            self.open = False
            self.ledger.in_flight -= 1
            self.ledger.by_status[key] += 1
            self.ledger.write(event, self, **more)


class Server:
    """The routes and the state behind them."""

    def __init__(self, options: argparse.Namespace, child_pid: int | None) -> None:
        self.options = options
        self.child_pid = child_pid
        self.ready_at = time.monotonic() + options.start_delay
        self.slots = asyncio.Semaphore(options.max_running_requests)
        self.ledger = Ledger(options.journal)
        self.book = FaultBook()
        self.book.add(json.loads(options.order))
        self.name = options.served_model_name or options.model_path

    def app(self) -> web.Application:
        """The application with all its routes."""
        app = web.Application(middlewares=[self.check_key], client_max_size=1 << 28)
        gets = {"/v1/models": self.models, "/server_info": self.info, "/stats": self.stats}
        gets |= {"/health": self.health, "/health_generate": self.health}
        posts = {"/v1/chat/completions": self.chat, "/tokenize": self.tokenize, "/orders": self.orders}
        app.add_routes([web.get(path, handler) for path, handler in gets.items()])
        app.add_routes([web.post(path, handler) for path, handler in posts.items()])
        return app

    @property
    def ready(self) -> bool:
        return not self.options.never_ready and time.monotonic() >= self.ready_at

    @web.middleware
    async def check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who has the key; for /orders the admin key, where there is one (SGLang's rule)."""
        admin = self.options.admin_api_key if request.path == "/orders" else None
        wanted = f"Bearer {admin or self.options.api_key}".encode()
        given = request.headers.get("Authorization", "").encode()
        closed = (admin or self.options.api_key) and not request.path.startswith("/health")
        if closed and not hmac.compare_digest(given, wanted):
            return faults.error(401, "Unauthorized", "Unauthorized")
        try:
            return await handler(request)
        except web.HTTPException as failure:
            return faults.error(failure.status, "Error", failure.reason)
        except ValueError as failure:
            return faults.error(400, "BadRequestError", str(failure))

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def models(self, request: web.Request) -> web.Response:
        card = {"id": self.name, "object": "model", "created": 0, "owned_by": "sglang", "root": self.name}
        return web.json_response({"object": "list", "data": [{**card, "max_model_len": 32768}]})

    async def info(self, request: web.Request) -> web.Response:
        shown = ("model_path", "host", "port", "max_running_requests")
        state = {"effective_max_running_requests_per_dp": self.options.max_running_requests}
        facts = {"served_model_name": self.name, "version": "0.0.0-fake", "max_total_num_tokens": 131072}
        facts |= {name: getattr(self.options, name) for name in shown}
        return web.json_response({**facts, "internal_states": [state], "child_pid": self.child_pid})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"tokens": list(range(len(str(body["content"]).split())))})

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.ledger.stats())

    async def orders(self, request: web.Request) -> web.Response:
        self.book.add(await request.json())
        return web.json_response({"pending": len(self.book.orders)})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Take a chat request in, and see to it that its end is noted, whatever that is."""
        if not self.ready:
            return faults.error(503, "503", "The server is starting.")
        ask = Ask.parse(await request.json())
        ticket = self.ledger.arrive(ask.text)
        fault = self._due_ending(ticket.number)
        try:
            fault = fault or self.book.take(ask.text)
            if fault and fault.name in faults.ENDINGS:
                faults.end_process(fault)
            return await self._serve(request, ask, ticket, fault)
        except ValueError:
            ticket.answer(400, None, fault)
            raise
        finally:
            ticket.broken(fault)

    def _due_ending(self, number: int) -> Fault | None:
        for limit, name in ((self.options.crash_after, "crash"), (self.options.exit_zero_after, "exit0")):
            if limit is not None and number > limit:
                return Fault(name)
        return None

    async def _serve(
        self, request: web.Request, ask: Ask, ticket: Ticket, fault: Fault | None
    ) -> web.StreamResponse:
        if fault and fault.name in faults.REFUSALS:
            response = faults.refusal(fault)
            ticket.answer(response.status, None, fault)
            return response
        async with self.slots:
            await asyncio.sleep(self.options.latency)
            if fault and fault.name in faults.WAITS:
                await faults.wait(fault)
            completion = Completion(ask, ticket.number, ask.content(faults.without_markers(ask.text)))
            if fault and fault.name in faults.SPOILERS:
                completion = faults.spoil(fault, completion)
            return await self._send(request, completion, ticket, fault)

    async def _send(
        self, request: web.Request, completion: Completion, ticket: Ticket, fault: Fault | None
    ) -> web.StreamResponse:
        pieces = completion.pieces()
        kind = "text/event-stream" if completion.ask.stream else "application/json"
        if fault and fault.name in faults.BREAKERS:
            ticket.broken(fault)
            return await faults.break_off(fault, request, b"".join(pieces), kind)
        trickles = fault is not None and fault.name in faults.TRICKLES
        if not completion.ask.stream and not trickles:
            ticket.answer(200, completion.finish, fault)
            return web.Response(body=pieces[0], content_type=kind)
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        held = b""  # one piece behind, so that the answer is noted before its last one goes out
        async for piece in faults.stretched(fault, pieces):
            if held:
                await response.write(held)
            held = piece
        ticket.answer(200, completion.finish, fault)
        await response.write(held)
        return response


def parse_options(argv: list[str]) -> argparse.Namespace:
    """The options of the command line, and below them those of --config; unknown flags pass unseen."""
    parser = argparse.ArgumentParser(prog="tests.fakes.server", allow_abbrev=False)
    for flag, kind, default in FLAGS:
        parser.add_argument(f"--{flag}", type=kind, default=default)
    parser.add_argument("--model-path", "--model", default="fake-model")
    for switch in ("--never-ready", "--child"):
        parser.add_argument(switch, action="store_true")
    options, _ = parser.parse_known_args(argv)
    if options.config:
        options, _ = parser.parse_known_args(flags_of(options.config) + argv)
    if options.host != "localhost" and not ipaddress.ip_address(options.host).is_loopback:
        parser.error(f"--host {options.host}: the fake serves loopback only")
    return options


def flags_of(path: Path) -> list[str]:
    """The flags that a YAML file of flat keys stands for."""
    flags: list[str] = []
    for key, value in (yaml.safe_load(path.read_text()) or {}).items():
        flag = f"--{str(key).replace('_', '-')}"
        if isinstance(value, bool):
            flags += [flag] if value else []
        elif value is not None:
            flags += [f"{flag}={json.dumps(value) if isinstance(value, dict | list) else value}"]
    return flags


def main() -> None:
    """Start up, or fail to, and serve until a signal or a fault ends it."""
    options = parse_options(sys.argv[1:])
    if options.fail_start is not None:
        sys.exit(options.fail_start)  # a text: to stderr, with status 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash to order leaves no core file
    command = [sys.executable, "-S", "-E", "-c", SLEEPER, str(os.getpid())]
    child = subprocess.Popen(command) if options.child else None
    try:
        app = Server(options, child.pid if child else None).app()
        web.run_app(
            app,
            host=options.host,
            port=options.port,
            print=None,
            access_log=None,
            handler_cancellation=True,  # as with SGLang, a client that goes frees its slot
            shutdown_timeout=0.2,
        )
    finally:
        if child:
            child.kill()
            child.wait()


if __name__ == "__main__":
    main()
