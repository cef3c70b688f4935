"""Sends a chunk to one server until there is a result: its profile, or one fault. All retries live here.

The client limits the requests in flight, changes a request after a bad reply (more output tokens, other sampling,
half of the chunk), and waits where the server is overloaded (HTTP 429, 503) or only starts.
"""

import asyncio
import math
import random
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import BaseModel

from actors.concurrency_limit import ConcurrencyLimit
from actors.crash_suspects import CrashSuspects, RequestCost
from actors.http import Completion, Connection, Dialect, SamplingParams
from actors.http_errors import Unreachable
from actors.results import Request, Result
from actors.servers.supervisor import PROCESS_NAME, ServerAddress, ServerSupervisor, log_line
from extraction.chunking.splitting import halves
from extraction.config.settings import Sampling, Settings
from extraction.errors import Fault
from extraction.prompting.logprobs import leaf_scores
from extraction.prompting.reply_parsing import ReplyFault, parse

MAX_HALVINGS = 2  # down to quarters
SUSPECT_DIVISOR = 8  # after each crash a suspect is sent with so many times fewer requests in flight
MAX_SOLO_CRASHES = 2  # of the server under one request, which is to blame then
MAX_FREE_CRASHES = 8  # that cost a request no attempt: the server may crash on its own
IDLE_POLL_S = 0.05
EXIT_DELAY_S = 1.0  # a process ends a moment after its sockets do
START_POLL_S = 10  # the longest wait between two requests to a server that starts
WAIT_LOG_S = 30  # between two lines that say what is waited for


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is a profile: its text, and the scores of its leaves."""

    text: str
    scores: tuple[float, ...]


class ServerCrashed(Exception):
    """The server crashed or hung while it worked on a request, and another one is there now."""


class Client:
    """Sends requests to one server, never more than its limit at a time, and parses its replies.

    The supervisor, where there is one, restarts the server when it crashes or hangs. Requests that were in flight
    then are sent again with fewer others in flight, in the end alone; one under which the server crashes twice
    while it is alone gets the fault `poison`. `suspects` counts that across restarts of the actor.

    Where the server says when it takes requests again, or refuses some for their rate and answers others, no
    attempt is counted, unless no request has passed for `servers.start_timeout_s`. A server that is `starting` is
    waited for as long.
    """

    def __init__(
        self,
        address: ServerAddress,
        settings: Settings,
        schema: dict[str, Any],
        supervisor: ServerSupervisor | None = None,
        suspects: CrashSuspects | None = None,
        *,
        dialect: Dialect | None = None,
        starting: bool = False,
    ) -> None:
        self.settings, self.schema, self.supervisor = settings, schema, supervisor
        self.dialect, self.starting = dialect or Dialect(logprobs=False), starting
        self.suspects = suspects or CrashSuspects()
        self.model: type[BaseModel] = settings.profile_model()
        self._limit = ConcurrencyLimit(address.limit)
        self._connection = self._connect(address)
        self.passed_at = self._logged_at = -math.inf  # monotonic: of the last completion, of the last line

    async def reconnect(self, address: ServerAddress) -> None:
        """Send to a server's new address after its restart. Requests that wait for a slot go on waiting."""
        old, self._connection = self._connection, self._connect(address)
        self._limit.resize(address.limit)
        await old.close()

    def _connect(self, address: ServerAddress) -> Connection:
        return Connection(address, self.schema, self.settings.requests.deadline_s, self.dialect)

    @property
    def restarts(self) -> int:
        """How often the server was started again."""
        return max(0, self.supervisor.starts - 1) if self.supervisor else 0

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""
        return self._limit.in_flight

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a slot."""
        return self._limit.waiting

    @property
    def address(self) -> ServerAddress:
        """The server's address since its last start."""
        return self._connection.address

    async def drain(self, timeout_s: float) -> int:
        """Send no more requests, and return how many are still in flight after `timeout_s`."""
        self._limit.close()
        deadline = time.monotonic() + timeout_s
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(IDLE_POLL_S)
        return self.in_flight

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def extract(self, request: Request) -> Result:
        """Send a request until there is a profile, a fault of the document, or no attempt left.

        Raises OperatorError when the server's reply shows a wrong key or URL.
        """
        replies: tuple[Reply, ...] = ()
        fault, message = None, ""
        with self.suspects.track(request.chunk_id) as cost:
            try:
                halvings = MAX_HALVINGS if self.settings.requests.attempts > 1 else 0
                replies = await self._replies(request, cost, halvings)
            except (ReplyFault, Unreachable) as failure:
                fault, message = failure.fault, str(failure)
        return Result(
            chunk_id=request.chunk_id,
            replies=tuple(reply.text for reply in replies),
            scores=tuple(reply.scores for reply in replies),
            fault=fault,
            message=message,
            attempts=cost.attempts,
            prompt_tokens=cost.prompt_tokens,
            cached_tokens=cost.cached_tokens,
            completion_tokens=cost.completion_tokens,
            latency_s=cost.seconds,
            in_flight=cost.in_flight,
            truncated=cost.truncated,
            looped=cost.looped,
            ended_at=time.time(),
            server=PROCESS_NAME,
        )

    async def _replies(self, request: Request, cost: RequestCost, halvings: int) -> tuple[Reply, ...]:
        """The chunk's profile, or those of its halves where the whole is too long. Raises their first fault."""
        try:
            return (await self._reply(request, cost),)
        except ReplyFault as failure:
            too_long = failure.fault in (Fault.TRUNCATED, Fault.TOO_LONG)
            parts = halves(request.content) if too_long and halvings else None
            if parts is None:
                raise
        first, second = (replace(request, content=part) for part in parts)
        return (
            *await self._replies(first, cost, halvings - 1),
            *await self._replies(second, cost, halvings - 1),
        )

    async def _reply(self, request: Request, cost: RequestCost) -> Reply:
        """A profile. Raises ReplyFault or Unreachable after the last attempt that may help."""
        sampling, max_attempts = self.settings.sampling, self.settings.requests.attempts
        max_reply_tokens = self.settings.limits.context_length - request.prompt_tokens - 1
        params, attempt = initial_params(sampling, request.max_tokens), 1
        started, tries = time.monotonic(), 0
        seen: set[Fault] = set()
        while True:
            tried_at, tries = time.monotonic(), tries + 1
            try:
                completion = await self._send(request, params, cost)
                text, reason = completion.text, completion.finish_reason
                span = parse(text, reason, self.model, optional=self.settings.prompt.optional).span
                scores = leaf_scores(text, completion.logprobs, span) if completion.logprobs else ()
                return Reply(text[slice(*span)], tuple(scores))
            except ServerCrashed:
                continue  # costs the document no attempt
            except ReplyFault as failure:
                fault = failure.fault
                cost.truncated += fault is Fault.TRUNCATED
                cost.looped += fault is Fault.REPETITION
                changed = None if fault in seen else retry_params(params, fault, sampling, max_reply_tokens)
                if changed is None or attempt == max_attempts:
                    raise
                params = changed
                if fault.retryable:
                    await asyncio.sleep(self._pause_s(attempt))
                else:
                    seen.add(fault)
            except Unreachable as failure:
                free = self._is_worth_waiting(failure, started, tried_at)
                if attempt == max_attempts and not free:
                    raise
                await self._back_off(failure, tries)
                if free:
                    continue
            attempt += 1

    async def _send(self, request: Request, params: SamplingParams, cost: RequestCost) -> Completion:
        """Send once a slot is free. A request that finds the server dead keeps its slot during the restart."""
        if cost.solo_crashes >= MAX_SOLO_CRASHES:
            message = f"the server died {MAX_SOLO_CRASHES} times while it worked on this alone"
            raise ReplyFault(Fault.POISON, message)
        max_in_flight = max(1, self._limit.limit // SUSPECT_DIVISOR**cost.crashes) if cost.crashes else math.inf
        async with self._limit.slot(max_in_flight):
            connection = self._connection
            alone = max_in_flight == 1 and (connection.has_replied or await connection.is_responsive())
            messages, sent_at = self.settings.prompt.messages(self.model, request.content), time.monotonic()
            async with self.suspects.in_flight(cost, alone=alone):
                cost.attempts += 1
                try:
                    with cost.timed():
                        completion = await connection.send(messages, params)
                except Unreachable as failure:
                    if not await self._replaced(connection, sent_at, failure, alone):
                        raise
                    cost.crashes += 1
                    cost.solo_crashes += alone
                    self.suspects.record_crash()
                    if cost.crashes > MAX_FREE_CRASHES:
                        raise
                    raise ServerCrashed from None
            cost.add(completion, self.in_flight)
            self.passed_at = time.monotonic()
            self._limit.passed()
            return completion

    async def _replaced(self, connection: Connection, sent_at: float, failure: Unreachable, alone: bool) -> bool:
        """Whether the server crashed or hung under a request, and was restarted.

        A crash under a request that was alone does not count against the server.
        """
        if self.supervisor and connection is self._connection:
            await self.supervisor.restart(
                self.reconnect,
                is_hung=partial(self._is_hung, connection, sent_at) if failure.fault is Fault.DEADLINE else None,
                exit_delay_s=EXIT_DELAY_S if failure.broken else 0,
                counted=not alone,
            )
        return connection is not self._connection

    async def _is_hung(self, connection: Connection, sent_at: float) -> bool:
        """Whether a server has sent no reply since a request was sent, and sends none to a small one."""
        silent = connection is self._connection and connection.replied_at < sent_at
        return silent and not await connection.is_responsive()

    def _is_worth_waiting(self, failure: Unreachable, started: float, tried_at: float) -> bool:
        """Whether a failure costs a request no attempt: the server only wants it later."""
        if time.monotonic() - max(self.passed_at, started) > self.settings.servers.start_timeout_s:
            return False
        says_when = failure.deferred and failure.retry_after_s is not None
        others_pass = failure.rate_limited and self.passed_at > tried_at
        return says_when or others_pass or (self.starting and failure.starting)

    async def _back_off(self, failure: Unreachable, tries: int) -> None:
        """Wait before another attempt; where the server takes no requests for their rate, all requests wait."""
        seconds, starts = self._pause_s(tries), self.starting and failure.starting
        if failure.retry_after_s is not None:
            seconds = min(failure.retry_after_s, self.settings.requests.backoff_max_s) or seconds
        elif starts:
            seconds = min(seconds, START_POLL_S)
        new = self._limit.pause(seconds) if failure.rate_limited else starts
        if new and time.monotonic() - self._logged_at > WAIT_LOG_S:
            self._logged_at = time.monotonic()
            limit = f", at most for servers.start_timeout_s = {self.settings.servers.start_timeout_s:g} s"
            log_line(f"{self.address.url}: {failure}; waiting{limit if starts else f' {seconds:.1f} s'}")
        if not failure.rate_limited:
            await asyncio.sleep(seconds)

    def _pause_s(self, tries: int) -> float:
        """A random time (full jitter) after so many tries, never longer than `backoff_max_s`."""
        config = self.settings.requests
        return random.uniform(0, min(config.backoff_max_s, config.backoff_s * 2 ** min(tries, 30)))


def initial_params(sampling: Sampling, max_tokens: int) -> SamplingParams:
    """The sampling parameters of the first attempt, from the settings."""
    return SamplingParams(
        temperature=sampling.temperature,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        max_tokens=max_tokens,
        seed=sampling.seed,
    )


def retry_params(
    params: SamplingParams, fault: Fault, sampling: Sampling, max_reply_tokens: int
) -> SamplingParams | None:
    """The sampling parameters of the attempt after a fault; None where another attempt does not help.

    `max_reply_tokens` is what the prompt leaves of the model's context.
    """
    if fault.retryable:
        return params
    if fault in (Fault.INVALID, Fault.REPETITION):
        return replace(
            params,
            temperature=sampling.retry_temperature,
            frequency_penalty=sampling.retry_frequency_penalty,
            seed=params.seed + 1,
        )
    max_tokens = min(2 * params.max_tokens, max_reply_tokens)
    if fault is Fault.TRUNCATED and max_tokens > params.max_tokens:
        return replace(params, max_tokens=max_tokens)
    return None
