"""The stage that users of Ray would take instead: `SGLangEngineProcessorConfig` of ray.data.llm.

It gets the same chunks, prompts and flags; its engine runs in the actor's own process.

It tells no times of single requests that hold (a row is stamped when its batch has left the stage), so both sides
are timed by the engine's own log of requests.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from actors.retrying_client import Request
from actors.servers.sglang import QUEUED_PER_RUNNING, SglangServer
from jobs.benchmarks.measurement import Sample
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
        "log_requests_target": str(folder),
    }


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


def ask_ray_data_llm(run: Run, server: SglangServer, questions: pa.Table, folder: Path) -> list[Sample]:
    """Ask each question once through ray.data.llm; `server` is not started, only its flags are taken."""
    from ray.data.llm import SGLangEngineProcessorConfig, build_processor  # takes seconds

    sampling, schema = run.settings.sampling, json.dumps(run.schema)
    flags = {name.replace("-", "_"): value for name, value in server.flags.arguments().items()}
    config = SGLangEngineProcessorConfig(
        model_source=run.settings.model.name,
        engine_kwargs={
            **flags,
            **request_logging(folder),
            "log_requests_target": [str(folder)],
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

    def ask(row: dict[str, Any]) -> dict[str, Any]:
        question = Request(**{name: row[name] for name in Request.__slots__})
        drawn = {"temperature": sampling.temperature, "max_new_tokens": question.max_tokens, "json_schema": schema}
        messages = [dict(message) for message in run.settings.prompt.messages(run.model, question.content)]
        return {"chunk_id": row["chunk_id"], "messages": messages, "sampling_params": drawn}

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        return {"chunk_id": row["chunk_id"], "reply": row["generated_text"]}

    path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", questions).path
    asked = ray.data.read_parquet(run.storage.full(path)).repartition(target_num_rows_per_block=BATCH)
    answered = build_processor(config, preprocess=ask, postprocess=keep)(asked)
    answered.write_parquet(run.storage.full(f"{run.folder}/raydata"))
    return logged_requests(folder)
