"""What users of Ray would take instead, the processors of ray.data.llm: for HTTP, and with SGLang's engine.

They get the same chunks and prompts, the engine the same flags; it runs in the actor's own process.

It tells no times of single requests that hold (a row is stamped when its batch has left the stage), so both sides
are timed by the engine's own log of requests.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from actors.results import Request
from actors.servers.sglang import QUEUED_PER_RUNNING, SglangServer
from actors.servers.supervisor import ServerAddress
from jobs.benchmarks.measurement import Sample
from jobs.benchmarks.paths import body_of
from jobs.stages.run import Run

BATCH = 32  # rows of a batch


def in_flight(server: SglangServer) -> int:
    """How many requests it is given at a time: as many as the job gives a server with such flags."""
    return max(BATCH, QUEUED_PER_RUNNING * (server.flags.max_running_requests or BATCH))


def request_logging(folder: Path) -> dict[str, Any]:
    """The flags of SGLang that write when each request came and was answered into files of a folder, without its
    text."""
    return {
        "log_requests": True,
        "log_requests_level": 0,
        "log_requests_format": "json",
        "log_requests_target": [str(folder)],
    }


def logging_arguments(folder: Path) -> list[str]:
    """The same on SGLang's command line."""
    options = {f"--{name.replace('_', '-')}": value for name, value in request_logging(folder).items()}
    return [
        word
        for name, value in options.items()
        for word in ([name] if value is True else [name, *map(str, value if isinstance(value, list) else [value])])
    ]


def logged_requests(folder: Path) -> list[Sample]:
    """The requests in such files that were answered, in the order in which they were."""
    return sorted(_logged(folder), key=lambda sample: sample.ended)


def _logged(folder: Path) -> Iterator[Sample]:
    received: dict[str, float] = {}
    lines = (line for path in sorted(folder.glob("*.log*")) for line in path.read_text("utf-8").splitlines())
    for line in lines:
        event = json.loads(line[line.index("{") :])  # behind a time of its own
        stamp = datetime.fromisoformat(event["timestamp"]).timestamp()
        if event["event"] == "request.received":
            received[str(event["rid"])] = stamp
        elif event["event"] == "request.finished":
            meta, began = event["out"]["meta_info"], received.get(str(event["rid"]), stamp)
            yield Sample(
                began=began,
                ended=stamp,
                latency_s=stamp - began,
                prompt_tokens=meta.get("prompt_tokens", 0),
                cached_tokens=meta.get("cached_tokens", 0),
                completion_tokens=meta.get("completion_tokens", 0),
                fault=None,
            )


def ask_http(address: ServerAddress, run: Run, questions: pa.Table, *, actors: int, batch: int) -> None:
    """Ask each question once, with `actors` actors and batches of `batch` rows. It needs no package beyond Ray and
    aiohttp; an answer that is no 200 breaks the whole run."""
    from ray.data.llm import HttpRequestProcessorConfig  # takes seconds

    config = HttpRequestProcessorConfig(
        url=f"{address.url}/chat/completions",
        headers={"Authorization": f"Bearer {address.api_key}"},
        batch_size=batch,
        concurrency=(actors, actors),
        http_request_stage={"num_cpus": 0.1},  # else two of them leave two cores nothing to read and write with
    )
    _process(
        run,
        questions,
        config,
        lambda question: {"payload": body_of(address, run, question)},
        lambda row: row["http_response"]["choices"][0]["message"]["content"],
        rows=4 * batch,
    )


def ask_engine(run: Run, server: SglangServer, questions: pa.Table, folder: Path) -> list[Sample]:
    """Ask each question once; `server` is not started, only its flags are taken."""
    from ray.data.llm import SGLangEngineProcessorConfig  # takes seconds

    sampling, schema = run.settings.sampling, json.dumps(run.schema)
    flags = {name.replace("-", "_"): value for name, value in server.flags.arguments().items()}
    config = SGLangEngineProcessorConfig(
        model_source=run.settings.model.name,
        engine_kwargs={
            **flags,
            **request_logging(folder),
            "context_length": run.settings.limits.context_length,
            "load_format": run.settings.model.load_format,
            "skip_tokenizer_init": False,
        },
        batch_size=BATCH,
        max_concurrent_batches=in_flight(server) // BATCH,
        concurrency=1,
        tokenize_stage={"enabled": False},
        detokenize_stage={"enabled": False},
    )

    def ask(question: Request) -> dict[str, Any]:
        drawn = {"temperature": sampling.temperature, "max_new_tokens": question.max_tokens, "json_schema": schema}
        messages = [dict(message) for message in run.settings.prompt.messages(run.model, question.content)]
        return {"messages": messages, "sampling_params": drawn}

    _process(run, questions, config, ask, itemgetter("generated_text"), rows=BATCH)
    return logged_requests(folder)


def _process(
    run: Run,
    questions: pa.Table,
    config: Any,
    ask: Callable[[Request], dict[str, Any]],
    reply_of: Callable[[dict[str, Any]], str],
    *,
    rows: int,
) -> None:
    """Put the questions through a processor, in blocks of so many rows, from Parquet to Parquet."""
    from ray.data.llm import build_processor  # takes seconds

    def before(row: dict[str, Any]) -> dict[str, Any]:
        question = Request(**{name: row[name] for name in Request.__slots__})
        return {"chunk_id": row["chunk_id"], **ask(question)}

    def after(row: dict[str, Any]) -> dict[str, Any]:
        return {"chunk_id": row["chunk_id"], "reply": reply_of(row)}

    path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", questions).path
    asked = ray.data.read_parquet(run.storage.full(path)).repartition(target_num_rows_per_block=rows)
    answered = build_processor(config, preprocess=before, postprocess=after)(asked)
    answered.write_parquet(run.storage.full(f"{run.folder}/raydata"))
