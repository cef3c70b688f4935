"""Ways to send the same chunks to the same servers: a bare client, the job's extract stage, ray.data.llm."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pyarrow as pa

from actors.extractor import Extractor
from actors.http import Dialect
from actors.results import Request
from actors.servers import sglang
from actors.servers.sglang import SglangServer
from actors.servers.supervisor import Server, ServerAddress
from extraction.errors import Fault, RunError
from extraction.prompting.reply_parsing import ReplyFault, parse
from jobs.benchmarks.harness import work_on
from jobs.benchmarks.measurement import Sample
from jobs.stages import extract
from jobs.stages.run import Run

EVENT = b"data: "


def ask_bare(
    address: ServerAddress, run: Run, questions: Sequence[Request], *, stream: bool = False
) -> list[Sample]:
    """Ask each question once; `stream` takes the time of the first token, at some cost to the server.

    What came back is judged as the job does, but after the clock has stopped, and nothing is asked again.
    """
    return asyncio.run(_ask_bare(address, run, questions, stream))


async def _ask_bare(address: ServerAddress, run: Run, questions: Sequence[Request], stream: bool) -> list[Sample]:
    slots = asyncio.Semaphore(address.limit)
    timeout = aiohttp.ClientTimeout(total=run.settings.requests.deadline_s)
    headers = {"Authorization": f"Bearer {address.api_key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def ask(question: Request) -> tuple[float, float, float | None, dict[str, Any]]:
            async with slots:
                body = {**body_of(address, run, question), **(STREAMED if stream else {})}
                began = time.time()
                async with session.post(f"{address.url}/chat/completions", json=body) as response:
                    if response.status != 200:
                        await response.read()
                        return began, time.time(), None, {}
                    first, reply = await _streamed(response) if stream else (None, await response.json())
                return began, time.time(), None if first is None else first - began, reply

        await ask(questions[0])  # the grammar is made and the shared part of the prompts cached, as by a canary
        done = await asyncio.gather(*map(ask, questions))
    return [_sample(run, *one) for one in done]


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def body_of(address: ServerAddress, run: Run, question: Request) -> dict[str, Any]:
    """A chat request as the job sends it."""
    drawn = run.settings.sampling
    logprobs = {"logprobs": True} if run.settings.confidence.logprobs else {}
    return {
        **logprobs,
        "model": address.model,
        "messages": run.settings.prompt.messages(run.model, question.content),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "profile", "schema": run.schema, "strict": True},
        },
        "temperature": drawn.temperature,
        "frequency_penalty": drawn.frequency_penalty,
        "presence_penalty": drawn.presence_penalty,
        "max_tokens": question.max_tokens,
        "seed": drawn.seed,
    }


async def _streamed(response: aiohttp.ClientResponse) -> tuple[float | None, dict[str, Any]]:
    """When the first text came, and the events put together to one reply."""
    first, text, finish, usage = None, [], None, None
    async for line in response.content:
        if not line.startswith(EVENT) or line.startswith(EVENT + b"[DONE]"):
            continue
        event = json.loads(line.removeprefix(EVENT))
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            finish = choice["finish_reason"] or finish
            if choice["delta"].get("content"):
                first = first or time.time()
                text.append(choice["delta"]["content"])
    choice = {"message": {"content": "".join(text)}, "finish_reason": finish}
    return first, {"choices": [choice], "usage": usage}


def _sample(run: Run, began: float, ended: float, first: float | None, reply: dict[str, Any]) -> Sample:
    usage = reply.get("usage") or {}
    return Sample(
        began=began,
        ended=ended,
        latency_s=ended - began,
        prompt_tokens=usage.get("prompt_tokens", 0),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
        fault=_fault(run, reply),
        first_token_s=first,
    )


def _fault(run: Run, reply: dict[str, Any]) -> str | None:
    if not reply:
        return str(Fault.UNAVAILABLE)
    choice = reply["choices"][0]
    try:
        text, reason = choice["message"]["content"] or "", choice["finish_reason"]
        parse(text, reason, run.model, optional=run.settings.prompt.optional)
    except ReplyFault as failure:
        return str(failure.fault)
    return None


COUNT_POLL_S = 0.1


class Timed(Extractor):
    """An extractor that tells when it was handed a batch, when all of it was written down, and by which server."""

    def __init__(self, *given: Any, **named: Any) -> None:
        began = time.time()
        super().__init__(*given, **named)
        self.startup_s = time.time() - began

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """As the extractor's, with columns for that."""
        began = time.time()
        answers = await super().__call__(batch)
        columns = {
            "began": began,
            "ended": time.time(),
            "startup_s": self.startup_s,
            "flags": json.dumps(flags_of(self.supervisor.server)),
        }
        for name, value in columns.items():
            answers = answers.append_column(name, pa.array([value] * answers.num_rows))
        return answers

    async def _canary(self) -> Dialect:
        if self.settings.model.load_format == "dummy":  # random weights write no profile
            return Dialect(logprobs=self.settings.confidence.logprobs)
        return await super()._canary()


class Lent:
    """A server that somebody else keeps, used by an actor of the job."""

    name = "lent"
    alive = True

    def __init__(self, address: ServerAddress) -> None:
        self.address = address

    def start(self) -> ServerAddress:
        """It runs already."""
        return self.address

    def stop(self) -> None:
        """It is not ours."""


class Together:
    """A server that is ready when all `count` of them are, so that they are measured over the same time.

    They tell each other by files in a folder: all actors are on one host.
    """

    def __init__(self, server: Server, folder: Path, count: int, timeout_s: float) -> None:
        self.server, self.folder, self.count, self.timeout_s = server, folder, count, timeout_s
        self.name = server.name

    def start(self) -> ServerAddress:
        """Start it and wait for the others. Raises RunError when they don't come."""
        address = self.server.start()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / uuid.uuid4().hex).touch()
        deadline = time.monotonic() + self.timeout_s
        while (ready := len(list(self.folder.iterdir()))) < self.count:
            if time.monotonic() > deadline:
                raise RunError(f"{ready} of {self.count} servers were ready after {self.timeout_s:g} s")
            time.sleep(COUNT_POLL_S)
        return address

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self.server.alive

    def stop(self) -> None:
        """End it."""
        self.server.stop()


def lent(run: Run, address: ServerAddress) -> Run:
    """The run on one server that is there, by an actor without a GPU."""
    fleet = replace(run.fleet, make_server=partial(_lent, address), limit=address.limit, gpus=0)
    return replace(run, fleet=fleet)


def owned(run: Run, count: int) -> Run:
    """The run on `count` servers of its own actors, which start to work together."""
    servers = run.settings.servers.model_copy(update={"min_servers": count, "max_servers": count})
    settings = run.settings.model_copy(update={"servers": servers})
    make = partial(_together, run.fleet.make_server, run.logs / "ready", count, servers.start_timeout_s)
    return replace(run, settings=settings, fleet=replace(run.fleet, make_server=make))


def _lent(address: ServerAddress, logs: Path) -> Server:
    return Lent(address)


def _together(make: Any, folder: Path, count: int, timeout_s: float, logs: Path) -> Server:
    return Together(make(logs), folder, count, timeout_s)


def flags_of(server: Server) -> dict[str, Any]:
    """The flags that a server of this benchmark runs with; none of one that is not SGLang, or is lent."""
    inner = server.server if isinstance(server, Together) else server
    return inner.flags.explicit() if isinstance(inner, SglangServer) else {}


@dataclass(frozen=True)
class Extracted:
    """What the stage did: a sample a chunk, how long the slowest actor took to be ready, its server's flags, and
    who used which GPU."""

    samples: list[Sample]
    startup_s: float
    flags: dict[str, Any]
    processes: list[dict[str, Any]]


def ask_job(run: Run, questions: pa.Table) -> Extracted:
    """Put all questions through the extract stage, with a ledger that holds nothing."""
    tables: list[pa.Table] = []
    processes: list[dict[str, Any]] = []
    for answers in extract.results(run, work_on(run, questions), Timed):
        processes = processes or on_gpus()
        tables.append(answers)
    rows = pa.concat_tables(tables).to_pylist()
    names = [name for name in Sample.__slots__ if name != "first_token_s"]
    samples = [Sample(**{name: row[name] for name in names}) for row in rows]
    slowest = max(rows, key=itemgetter("startup_s"))
    return Extracted(samples, slowest["startup_s"], json.loads(slowest["flags"]), processes)


def on_gpus() -> list[dict[str, Any]]:
    """The processes that NVML sees on each GPU, with the actor that each one descends from; none without
    NVML."""
    try:
        return [{**process, "actor": _actor(process["pid"])} for process in sglang.processes()]
    except RunError:
        return []


def _actor(pid: int) -> int | None:
    """The nearest process of Ray's above one."""
    try:
        above = psutil.Process(pid).parents()
        return next((process.pid for process in above if process.name().startswith("ray::")), None)
    except psutil.Error:
        return None
