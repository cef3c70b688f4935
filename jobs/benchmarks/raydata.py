"""The path of ray.data.llm: its HTTP processor, as its documentation uses it, to Parquet."""

from typing import Any

import pyarrow as pa
import ray.data

from actors.client import Question
from actors.servers.server import Address
from jobs.benchmarks.bare import body_of
from jobs.state.run import Run


def ask_all(address: Address, run: Run, questions: pa.Table, *, actors: int, batch: int) -> None:
    """Ask each question once, with `actors` actors and batches of `batch` rows. It needs no package beyond Ray and
    aiohttp; an answer that is no 200 breaks the whole run."""
    from ray.data.llm import HttpRequestProcessorConfig, build_processor  # takes seconds

    config = HttpRequestProcessorConfig(
        url=f"{address.url}/chat/completions",
        headers={"Authorization": f"Bearer {address.api_key}"},
        batch_size=batch,
        concurrency=(actors, actors),
        http_request_stage={"num_cpus": 0.1},  # else two of them leave two cores nothing to read and write with
    )

    def ask(row: dict[str, Any]) -> dict[str, Any]:
        question = Question(**{name: row[name] for name in Question.__slots__})
        return {"chunk_id": row["chunk_id"], "payload": body_of(address, run, question)}

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        choice = row["http_response"]["choices"][0]
        return {"chunk_id": row["chunk_id"], "reply": choice["message"]["content"]}

    path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", questions).path
    asked = ray.data.read_parquet(run.storage.full(path)).repartition(target_num_rows_per_block=4 * batch)
    answered = build_processor(config, preprocess=ask, postprocess=keep)(asked)
    answered.write_parquet(run.storage.full(f"{run.folder}/raydata"))
