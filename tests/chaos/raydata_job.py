"""Documents through ray.data.llm, as its users write it: the other side of `python -m tests.chaos.peers`.

    python -m tests.chaos.raydata_job '{"input": "in.parquet", "output": "out", "url": "http://...", ...}'

`careful` stands for what its settings and a few lines of one's own can do: retries, a timeout, replies that are no
answers told as rows, and Ray Data's checkpoints by document.
"""

import json
import logging
import sys
from typing import Any

import aiohttp
import ray
import ray.data
from ray.data import DataContext
from ray.data.checkpoint import CheckpointConfig
from ray.data.llm import HttpRequestProcessorConfig, SGLangEngineProcessorConfig, build_processor

ROWS = 8  # of a batch, and of a block: what is written, and checkpointed, together


def main(told: dict[str, Any]) -> None:
    """Ask about every document, and write the answers."""
    engines = {"env_vars": {"FAKE_FLAGS": told["fake_flags"]}}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, runtime_env=engines)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    careful = bool(told["careful"])
    if careful:
        context.checkpoint_config = CheckpointConfig(
            "document_id", told["output"] + "-checkpoint", delete_checkpoint_on_success=False
        )
    documents = ray.data.read_parquet(told["input"], override_num_blocks=1).repartition(
        target_num_rows_per_block=ROWS
    )
    if told["url"]:
        config = HttpRequestProcessorConfig(
            url=f"{told['url']}/chat/completions",
            batch_size=ROWS,
            concurrency=(2, 2),
            http_request_stage={"num_cpus": 0.1},
            **(_cares(told["timeout_s"]) if careful else {}),
        )
        answered = build_processor(config, preprocess=_payload, postprocess=_careful if careful else _answer)(
            documents
        )
    else:
        engine = SGLangEngineProcessorConfig(
            model_source="stand-in",
            batch_size=ROWS,
            concurrency=told["engines"],
            **dict.fromkeys(("chat_template_stage", "tokenize_stage", "detokenize_stage"), False),
        )
        answered = build_processor(engine, preprocess=_prompt, postprocess=_text)(documents)
    answered.write_parquet(told["output"])


def _cares(timeout_s: float) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    return {"max_retries": 5, "session_factory": lambda: aiohttp.ClientSession(timeout=timeout)}


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": row["text"]}]
    return {"document_id": row["document_id"], "payload": {"model": "fake", "messages": messages}}


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    reply = row["http_response"]["choices"][0]["message"]["content"]  # as in ray.data.llm's own example
    return {"document_id": row["document_id"], "reply": reply, "error": None}


def _careful(row: dict[str, Any]) -> dict[str, Any]:
    reply = row["http_response"]
    if reply.get("choices") is not None:  # a batch has the fields of all its replies
        return _answer(row)
    return {"document_id": row["document_id"], "reply": None, "error": json.dumps(reply, default=str)}


def _prompt(row: dict[str, Any]) -> dict[str, Any]:
    return {"document_id": row["document_id"], "prompt": row["text"], "sampling_params": {"temperature": 0}}


def _text(row: dict[str, Any]) -> dict[str, Any]:
    return {"document_id": row["document_id"], "reply": row["generated_text"]}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
