"""Runs the fake inference server: a real process that answers like SGLang, and fails as ordered.

Start it with `python -m tests.fakes.server --port N` from the root of the checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.fakes import faults
from tests.fakes.completions import ChatRequest, Completion
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.options import parse_options
from tests.fakes.request_log import LoggedRequest, RequestLog

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN = ("/health", "/metrics")  # SGLang's, whatever keys it has
SLEEPER = """
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
while os.getppid() == int(sys.argv[1]):
    time.sleep(1)
"""


class Server:
    """The routes and the state behind them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ready_at = time.monotonic() + options.start_delay
        self.slots = asyncio.Semaphore(options.max_running_requests)
        self.log = RequestLog(options.journal)
        self.faults = FaultPlan()
        self.faults.add(json.loads(options.order))
        self.first_asked: float | None = None
        self.admitted: deque[float] = deque(maxlen=options.requests_per_10_s)  # when the last ones were
        self.name = options.served_model_name or options.model_path

    def app(self) -> web.Application:
        """The application with all its routes."""
        app = web.Application(middlewares=[self.check_key], client_max_size=1 << 28)
        gets = {"/v1/models": self.models, "/server_info": self.info, "/stats": self.stats}
        gets |= {"/health": self.health, "/metrics": self.metrics}
        posts = {"/v1/chat/completions": self.chat, "/orders": self.orders}
        app.add_routes([web.get(path, handler) for path, handler in gets.items()])
        app.add_routes([web.post(path, handler) for path, handler in posts.items()])
        return app

    @property
    def ready(self) -> bool:
        return not self.options.never_ready and time.monotonic() >= self.ready_at

    @web.middleware
    async def check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Require the key, where there is one."""
        wanted = f"Bearer {self.options.api_key}".encode()
        sent = request.headers.get("Authorization", "").encode()
        closed = self.options.api_key and not request.path.startswith(OPEN)
        if closed and not hmac.compare_digest(sent, wanted):
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
        option_names = ("model_path", "host", "port", "max_running_requests")
        state = {"effective_max_running_requests_per_dp": self.options.max_running_requests}
        facts = {"served_model_name": self.name, "version": "0.0.0-fake", "max_total_num_tokens": 131072}
        facts |= {name: getattr(self.options, name) for name in option_names}
        return web.json_response({**facts, "internal_states": [state]})

    async def metrics(self, request: web.Request) -> web.Response:
        limit, in_flight = self.options.max_running_requests, self.log.in_flight
        running = min(limit, in_flight)
        values = {
            "num_running_reqs": running,
            "num_queue_reqs": in_flight - running,
            "token_usage": running / limit,
        }
        lines = [
            f'# HELP sglang:{name} Of the fake.\n# TYPE sglang:{name} gauge\nsglang:{name}{{tp_rank="0"}} {value}\n'
            for name, value in values.items()
        ]
        return web.Response(text="".join(lines))

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.log.stats())

    async def orders(self, request: web.Request) -> web.Response:
        self.faults.add(await request.json())
        return web.json_response({"pending": len(self.faults.orders)})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Handle a chat request; its end is logged in any case."""
        if not self.ready:
            return faults.error(503, "503", "The server is starting.")
        chat = ChatRequest.parse(await request.json())
        logged = self.log.start(chat.text)
        if refused := self._not_yet():
            logged.answer(refused.status, None, None)
            return refused
        fault = self._due_ending(logged.number)
        try:
            fault = fault or self.faults.next_fault(chat.text)
            if fault and fault.name in faults.ENDINGS:
                faults.end_process(fault)
            return await self._serve(request, chat, logged, fault)
        except ValueError:
            logged.answer(400, None, fault)
            raise
        finally:
            logged.broken(fault)

    def _not_yet(self) -> web.Response | None:
        """Refuse a request while the first one starts the server, and those above the rate."""
        now = time.monotonic()
        self.first_asked = self.first_asked or now
        if now < self.first_asked + self.options.cold_start:
            return faults.error(503, "503", "The model is loading.")
        oldest = self.admitted[0] if len(self.admitted) == self.admitted.maxlen else -math.inf
        if oldest > now - 10:
            wait_s = math.ceil(oldest + 10 - now)
            return faults.error(429, "RateLimitError", "Rate limit reached.", {"Retry-After": str(wait_s)})
        if self.admitted.maxlen:
            self.admitted.append(now)
        return None

    def _due_ending(self, number: int) -> Fault | None:
        for limit, name in ((self.options.crash_after, "crash"), (self.options.exit_zero_after, "exit0")):
            if limit is not None and number > limit:
                return Fault(name)
        return None

    async def _serve(
        self, request: web.Request, chat: ChatRequest, logged: LoggedRequest, fault: Fault | None
    ) -> web.StreamResponse:
        if fault and fault.name in faults.REFUSALS:
            response = faults.refusal(fault)
            logged.answer(response.status, None, fault)
            return response
        async with self.slots:
            await asyncio.sleep(self.options.latency)
            if fault and fault.name in faults.WAITS:
                await faults.wait(fault)
            completion = Completion(chat, logged.number, chat.content(faults.without_markers(chat.text)))
            if fault and fault.name in faults.SPOILERS:
                completion = faults.spoil(fault, completion)
            return await self._send(request, completion, logged, fault)

    async def _send(
        self, request: web.Request, completion: Completion, logged: LoggedRequest, fault: Fault | None
    ) -> web.StreamResponse:
        pieces = completion.pieces()
        kind = "text/event-stream" if completion.chat.stream else "application/json"
        if fault and fault.name in faults.BREAKERS:
            logged.broken(fault)
            return await faults.break_off(fault, request, b"".join(pieces), kind)
        trickles = fault is not None and fault.name in faults.TRICKLES
        if not completion.chat.stream and not trickles:
            logged.answer(200, completion.finish, fault)
            return web.Response(body=pieces[0], content_type=kind)
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        pending = b""  # one piece behind, so that the reply is logged before its last byte is sent
        async for piece in faults.stretched(fault, pieces):
            if pending:
                await response.write(pending)
            pending = piece
        logged.answer(200, completion.finish, fault)
        await response.write(pending)
        return response


def main() -> None:
    """Start, or fail as ordered, and serve until a signal or a fault ends the process."""
    options = parse_options(sys.argv[1:])
    if options.fail_start is not None:
        sys.exit(options.fail_start)  # a text: to stderr, with status 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an ordered crash leaves no core file
    command = [sys.executable, "-S", "-E", "-c", SLEEPER, str(os.getpid())]
    child = subprocess.Popen(command) if options.child else None
    try:
        app = Server(options).app()
        web.run_app(
            app,
            host=options.host,
            port=options.port,
            reuse_port=options.reserved,
            print=None,
            access_log=None,
            handler_cancellation=True,  # as with SGLang, a client that disconnects frees its slot
            shutdown_timeout=0.2,
        )
    finally:
        if child:
            child.kill()
            child.wait()


if __name__ == "__main__":
    main()
