"""The client: one chunk in, one result or one fault out. All retries of the project live here.

It limits how many requests are in flight, decides how a request is repeated after a bad reply (more room, other
sampling, in halves), and backs off where a server is overloaded (HTTP 429, 503).
"""

import asyncio
import math
import os
import random
import socket
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import BaseModel

from actors.concurrency_limit import Slots
from actors.crash_suspects import Doubts, Effort
from actors.http import Attempt, Completion, Connection, Unreachable
from actors.servers.supervisor import Keeper, ServerAddress
from extraction.chunking.splitting import halves
from extraction.config.settings import Sampling, Settings
from extraction.errors import Fault
from extraction.prompting.logprobs import leaf_scores
from extraction.prompting.reply_parsing import ReplyFault, parse

HALVINGS = 2  # down to quarters
DOUBT = 8  # with each death of the server, who was near is asked in so much smaller company
DEATHS_ALONE = 2  # of the server under one question, which is to blame then
FORGIVEN = 8  # deaths that cost a question no attempt, for a server that dies of itself
IDLE_POLL_S = 0.05
SEEN_DEAD_S = 1.0  # a process ends a moment after its sockets do
HERE = f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Request:
    """A chunk as the client needs it. Lengths in tokens."""

    chunk_id: str
    content: str
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a question: profiles as JSON texts, or a fault. Tokens are summed over its attempts.

    `replies` is one profile as the model wrote it, or one for each part of a chunk that had to be asked in parts;
    `scores` holds for each the log-probabilities of its leaves (see `extraction.prompting.logprobs`), none where
    the server gave none. `truncated` and `looped` count the attempts that were cut off or repeated themselves.
    `in_flight` is the number of requests that the server worked on when this one ended, itself included; `ended_at`
    is when that was (seconds since 1970), `server` the host and process of the actor that asked.
    """

    chunk_id: str
    replies: tuple[str, ...] = ()
    fault: Fault | None = None
    message: str = ""
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    in_flight: int = 0
    truncated: int = 0
    looped: int = 0
    ended_at: float = 0.0
    server: str = ""
    scores: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is a profile: its text, and the scores of its leaves."""

    text: str
    scores: tuple[float, ...]


class Lost(Exception):
    """The server died while it worked on a request."""


class Client:
    """Asks one server, never more than its limit at a time, and judges what it says.

    The keeper, where there is one, starts the server again when it dies or hangs. Questions that it
    worked on then are asked again in smaller company, in the end alone; one that it dies of alone, twice, is
    given up. Doubts keep count of that over the lives of an actor.
    """

    def __init__(
        self,
        address: ServerAddress,
        settings: Settings,
        schema: dict[str, Any],
        keeper: Keeper | None = None,
        doubts: Doubts | None = None,
        *,
        logprobs: bool = False,
    ) -> None:
        self.settings, self.schema, self.keeper, self.logprobs = settings, schema, keeper, logprobs
        self.doubts = doubts or Doubts()
        self.model: type[BaseModel] = settings.profile_model()
        self._slots = Slots(address.limit)
        self._connection = self._connect(address)

    async def reconnect(self, address: ServerAddress) -> None:
        """Turn to a server's new address after a restart. Who waits for a slot goes on waiting."""
        old, self._connection = self._connection, self._connect(address)
        self._slots.resize(address.limit)
        await old.close()

    def _connect(self, address: ServerAddress) -> Connection:
        return Connection(address, self.schema, self.settings.requests.deadline_s, logprobs=self.logprobs)

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._slots.taken

    @property
    def waiting(self) -> int:
        """Requests that wait for one of them to end."""
        return self._slots.waiting

    @property
    def address(self) -> ServerAddress:
        """The server's address since its last start."""
        return self._connection.address

    async def drain(self, within_s: float) -> int:
        """Send nothing any more, and return how many requests are still under way when the time is up."""
        self._slots.close()
        end = time.monotonic() + within_s
        while self._slots.taken and time.monotonic() < end:
            await asyncio.sleep(IDLE_POLL_S)
        return self._slots.taken

    async def close(self) -> None:
        """Give the connections back."""
        await self._connection.close()

    async def ask(self, question: Request) -> Result:
        """Ask until there is a profile, a fault of the document, or no attempt left.

        Raises OperatorError when the server says that asking is a mistake (key, model, URL).
        """
        began = time.monotonic()
        replies: tuple[Reply, ...] = ()
        fault, message = None, ""
        with self.doubts.about(question.chunk_id) as effort:
            try:
                depth = HALVINGS if self.settings.requests.attempts > 1 else 0
                replies = await self._replies(question, effort, depth)
            except (ReplyFault, Unreachable) as failure:
                fault, message = failure.fault, str(failure)
        return Result(
            chunk_id=question.chunk_id,
            replies=tuple(reply.text for reply in replies),
            scores=tuple(reply.scores for reply in replies),
            fault=fault,
            message=message,
            attempts=effort.attempts,
            prompt_tokens=effort.prompt_tokens,
            cached_tokens=effort.cached_tokens,
            completion_tokens=effort.completion_tokens,
            latency_s=time.monotonic() - began,
            in_flight=effort.in_flight,
            truncated=effort.truncated,
            looped=effort.looped,
            ended_at=time.time(),
            server=HERE,
        )

    async def _replies(self, question: Request, effort: Effort, halvings: int) -> tuple[Reply, ...]:
        """The question's profile, or those of its parts where the whole is too much. Raises their first failure."""
        try:
            return (await self._reply(question, effort),)
        except ReplyFault as failure:
            too_much = failure.fault in (Fault.TRUNCATED, Fault.TOO_LONG)
            parts = halves(question.content) if too_much and halvings else None
            if parts is None:
                raise
        first, second = (replace(question, content=part) for part in parts)
        return (
            *await self._replies(first, effort, halvings - 1),
            *await self._replies(second, effort, halvings - 1),
        )

    async def _reply(self, question: Request, effort: Effort) -> Reply:
        """A profile. Raises ReplyFault or Unreachable after the last attempt that is worth it."""
        drawn, last = self.settings.sampling, self.settings.requests.attempts
        room = self.settings.limits.context_length - question.prompt_tokens - 1
        attempt, number = first_attempt(drawn, question.max_tokens), 1
        tried: set[Fault] = set()
        while True:
            try:
                completion = await self._send(question, attempt, effort)
                parse(completion.text, completion.finish_reason, self.model)
                scores = leaf_scores(completion.text, completion.logprobs) if completion.logprobs else ()
                return Reply(completion.text, tuple(scores))
            except Lost:
                continue  # no attempt of the document's
            except ReplyFault as failure:
                effort.truncated += failure.fault is Fault.TRUNCATED
                effort.looped += failure.fault is Fault.REPETITION
                changed = None if failure.fault in tried else next_attempt(attempt, failure.fault, drawn, room)
                if changed is None or number == last:
                    raise
                attempt = changed
                if failure.fault.retryable:
                    await self._back_off(number, None)
                else:
                    tried.add(failure.fault)
            except Unreachable as failure:
                if number == last:
                    raise
                await self._back_off(number, failure.retry_after_s)
            number += 1

    async def _send(self, question: Request, attempt: Attempt, effort: Effort) -> Completion:
        """Send once a slot is free. Who finds the server dead keeps the slot until there is a new one."""
        if effort.deaths_alone >= DEATHS_ALONE:
            said = f"the server died {DEATHS_ALONE} times while it worked on this alone"
            raise ReplyFault(Fault.POISON, said)
        most = max(1, self._slots.limit // DOUBT**effort.deaths) if effort.deaths else math.inf
        async with self._slots.one(most):
            connection = self._connection
            blamed = most == 1 and (connection.has_replied or await connection.answers())
            messages, sent_at = self.settings.prompt.messages(self.model, question.content), time.monotonic()
            async with self.doubts.under_way(effort, alone=blamed):
                effort.attempts += 1
                try:
                    completion = Completion.of(await connection.send(messages, attempt))
                except Unreachable as failure:
                    if not await self._died(connection, sent_at, failure, blamed):
                        raise
                    effort.deaths += 1
                    effort.deaths_alone += blamed
                    self.doubts.alarm()
                    if effort.deaths > FORGIVEN:
                        raise
                    raise Lost from None
            effort.add(completion, self._slots.taken)
            return completion

    async def _died(self, connection: Connection, sent_at: float, failure: Unreachable, blamed: bool) -> bool:
        """Whether the server died or hung under a request; another one is there then.

        A death that the request is to blame for does not count against the server.
        """
        if self.keeper and connection is self._connection:
            await self.keeper.revive(
                self.reconnect,
                hung=partial(self._hung, connection, sent_at) if failure.fault is Fault.DEADLINE else None,
                patience_s=SEEN_DEAD_S if failure.broken else 0,
                counted=not blamed,
            )
        return connection is not self._connection

    async def _hung(self, connection: Connection, sent_at: float) -> bool:
        """Whether a server has answered nobody since a request was sent, and does not answer a small one."""
        quiet = connection is self._connection and connection.replied_at < sent_at
        return quiet and not await connection.answers()

    async def _back_off(self, number: int, retry_after_s: float | None) -> None:
        """Full jitter, or what the server asks for, never more than the cap."""
        asked = self.settings.requests
        ceiling = min(asked.backoff_max_s, asked.backoff_s * 2**number)
        pause = random.uniform(0, ceiling) if retry_after_s is None else min(retry_after_s, asked.backoff_max_s)
        await asyncio.sleep(pause)


def first_attempt(drawn: Sampling, max_tokens: int) -> Attempt:
    """The first attempt, as the settings have it."""
    return Attempt(
        temperature=drawn.temperature,
        frequency_penalty=drawn.frequency_penalty,
        presence_penalty=drawn.presence_penalty,
        max_tokens=max_tokens,
        seed=drawn.seed,
    )


def next_attempt(attempt: Attempt, fault: Fault, drawn: Sampling, room: int) -> Attempt | None:
    """The attempt that follows a fault, with one thing changed; None where asking again does not help.

    `room` is the number of tokens that a reply can have in the model's context.
    """
    if fault.retryable:
        return attempt
    if fault in (Fault.INVALID, Fault.REPETITION):
        return replace(
            attempt,
            temperature=drawn.retry_temperature,
            frequency_penalty=drawn.retry_frequency_penalty,
            seed=attempt.seed + 1,
        )
    more = min(2 * attempt.max_tokens, room)
    if fault is Fault.TRUNCATED and more > attempt.max_tokens:
        return replace(attempt, max_tokens=more)
    return None
