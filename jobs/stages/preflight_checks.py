"""Checks before a run, each with its remedy: input, output, Ray, GPUs, model, and test requests to the server."""

import asyncio
import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors import canary
from actors.http import Connection, SamplingParams
from actors.http_errors import Unreachable
from actors.results import Result
from actors.retrying_client import Client
from actors.servers import sglang
from actors.servers.supervisor import ServerAddress
from extraction.chunking.chunker import Chunker
from extraction.chunking.tokenizers import load_counter
from extraction.config.settings import Columns, Settings
from extraction.config.sglang_presets import choose_preset, load_matrix
from extraction.errors import Fault, ProfilesError, RunError
from extraction.prompting.reply_parsing import ReplyFault, parse
from jobs.inputs import document_reader
from jobs.inputs.file_discovery import refuse_own_output
from jobs.stages import ray_cluster
from jobs.stages.engines import SCENARIOS, Fleet
from jobs.state.output_table import check_table
from jobs.state.parquet_schemas import profile_schema
from jobs.state.storage import storage_at

MOST_S = 120  # for one answer
WORD_SCHEMA_NAME = "heron-4127"  # that nobody says unless a grammar makes it
WORD_TOKENS = 40
WORD_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [WORD_SCHEMA_NAME]}},
    "required": ["word"],
    "additionalProperties": False,
}
CheckState = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and what to do where it is wrong. A note stops nothing."""

    name: str
    state: CheckState
    said: str
    remedy: str = ""


def check_server(address: ServerAddress, settings: Settings, schema: dict[str, Any], name: str) -> list[Check]:
    """Ask it what it serves, as a run does for a profile, and for an answer that only a grammar makes.

    The test request decides, as it does in a run: once it is answered, whatever else is wrong is a note.
    """
    return asyncio.run(_check(address, settings, schema, name))


async def _check(address: ServerAddress, settings: Settings, schema: dict[str, Any], name: str) -> list[Check]:
    checks = await _judged("endpoint", _models(address, settings))
    asked = await _judged("test request", _profile(name, address, settings, schema))
    if any(check.state == "wrong" for check in asked):
        return [*checks, Check("structured output", "skipped", "not asked"), *asked]
    return [replace(check, state="note") if check.state == "wrong" else check for check in checks] + asked


async def _judged(name: str, step: Awaitable[list[Check]]) -> list[Check]:
    try:
        return await step
    except (ReplyFault, Unreachable) as failure:
        return [Check(name, "wrong", str(failure), canary.SERVER_REMEDIES.get(failure.fault, ""))]
    except ProfilesError as error:
        return [Check(name, "wrong", str(error))]


async def _models(address: ServerAddress, settings: Settings) -> list[Check]:
    limits, connection = settings.limits, Connection(address, {}, min(MOST_S, settings.requests.deadline_s))
    try:
        cards = {str(card.get("id")): card for card in await connection.models()}
    finally:
        await connection.close()
    names = ", ".join(cards) or "nothing"
    checks = [Check("endpoint", "ok", f"{address.url}/models answers: {names}")]
    if address.model not in cards:
        message = f"{address.model!r} is asked for, and it serves {names}"
        return [*checks, Check("model name", "wrong", message, "--model (or VLLM_MODEL) as it stands there")]
    checks.append(Check("model name", "ok", address.model))
    context = cards[address.model].get("max_model_len")
    needed = limits.max_chunk_tokens + limits.max_output_tokens
    if isinstance(context, int) and context < needed:
        message = f"it takes {context:,} tokens, a chunk and its answer may have {needed:,}"
        checks.append(
            Check("context", "wrong", message, "--context-length there, or lower limits.max_chunk_tokens")
        )
    return checks


async def _profile(name: str, address: ServerAddress, settings: Settings, schema: dict[str, Any]) -> list[Check]:
    """The test request of each actor, and whether a schema is kept to."""
    client, first = await canary.canary_client(name, address, settings, schema)
    try:
        if first.fault:
            raise ReplyFault(first.fault, first.message)
        return await _answered(client, first)
    finally:
        await client.close()


async def _answered(client: Client, first: Result) -> list[Check]:
    took = f"{first.latency_s:.1f} s, {first.prompt_tokens:,} prompt and {first.completion_tokens:,} output tokens"
    checks = [Check("test request", "ok", f"a valid {client.model.__name__} in {took}")]
    if str(client.dialect):
        checks.append(
            Check("parameters", "note", f"asked with {client.dialect}", "nothing to do: a run does the same")
        )
    if refused := parse(first.replies[0], "stop", client.model, optional=True).refused:
        message = f"it gives values that {client.model.__name__} refuses: {', '.join(refused[:3])}"
        checks.append(Check("values", "note", message, "say in the field's description how to write them"))
    if not first.prompt_tokens:
        checks.append(Check("usage", "note", "it does not say how many tokens it took", "cost can't be counted"))
    return [await _word(client), *checks]


async def _word(client: Client) -> Check:
    """An answer that no model gives unless the schema is kept to. A run can do without."""
    params = SamplingParams(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=WORD_TOKENS, seed=0)
    connection = Connection(client.address, WORD_SCHEMA, MOST_S, client.dialect)
    try:
        text = (await connection.send([{"role": "user", "content": "Say hello."}], params)).text
    except (ReplyFault, Unreachable, ProfilesError) as failure:
        return Check("structured output", "note", str(failure), canary.SERVER_REMEDIES[Fault.INVALID])
    finally:
        await connection.close()
    if f'"{WORD_SCHEMA_NAME}"' not in text:
        message = f'the schema leaves it {{"word": "{WORD_SCHEMA_NAME}"}} to say, and it says {text[:60]!r}'
        return Check("structured output", "note", message, canary.SERVER_REMEDIES[Fault.INVALID])
    return Check("structured output", "ok", "the schema is kept to")


ASK_S = 120  # for a GPU node to say what it has
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def check_input(given: list[str], columns: Columns) -> Check:
    """Whether documents can be read, and how many there are."""
    try:
        documents = document_reader.find_input(given, columns)
        odd = (*documents.notes, *_sampled(documents, columns))
    except Exception as error:
        reason = ray_cluster.reason(error)
        if reason is None:
            raise
        return Check("input", "wrong", str(reason))
    files = len({part.url for part in documents.parts})
    message = (
        f"{files:,} files, {documents.rows:,} documents, {documents.bytes / 1e6:,.1f} MB; the columns are there"
    )
    remedy = ""
    if documents.dead_letters:
        first = documents.dead_letters[0]
        message += (
            f"; {len(documents.dead_letters):,} files can't be read, such as {first.source_path}: {first.message}"
        )
        remedy = "each of them will be a dead letter: mend them, or leave them out"
    return Check("input", "note" if odd or remedy else "ok", "; ".join((message, *odd)), remedy)


def _sampled(documents: document_reader.Input, columns: Columns) -> list[str]:
    """What values mean nothing in the first rows, in words."""
    rows = next(document_reader.document_rows(documents.parts[:1], columns), None)
    if rows is None:
        return []
    unclear = [
        {**each, "place": f"{row['source_path']}#row={row['row']}", "rows": 1}
        for row in rows.select(["source_path", "row", "unclear"]).to_pylist()
        for each in row["unclear"] or ()
    ]
    return [f"of the first {rows.num_rows:,}: {note}" for note in document_reader.unclear_notes(unclear, columns)]


def check_folder(name: str, given: str, flag: str, nodes: int, inputs: Sequence[str] = ()) -> Check:
    """Whether a folder can be written to; a local one must be everybody's where there are several nodes."""
    try:
        refuse_own_output(inputs, given, flag)
        storage = storage_at(given, flag)
    except ProfilesError as error:
        return Check(name, "wrong", str(error), "give a folder or URL that this user, and every node, may write to")
    if storage.url.startswith("file://") and nodes > 1:
        message = f"{storage.url} is a local path, and there are {nodes} nodes"
        return Check(
            name, "note", message, "it must be the same shared folder on each of them, or a URL (s3://, gs://)"
        )
    return Check(name, "ok", f"{storage.url} can be written to")


def check_output_table(given: str, output: str | None, settings: Settings) -> Check:
    """Whether what a run publishes in an output can be committed to a table, as far as that shows before."""
    if output is None:
        return Check("output table", "skipped", "no --output")
    try:
        check_table(given, storage_at(output), profile_schema(settings.profile_model()))
    except ProfilesError as error:
        return Check("output table", "wrong", str(error), "correct it, install the extra, or leave the table out")
    return Check("output table", "ok", f"{given} can be written to")


def check_ray() -> tuple[Check, list[Mapping[str, Any]]]:
    """Whether the cluster answers, and its nodes; none where a run starts a Ray of its own."""
    address = os.environ.get("RAY_ADDRESS")
    if not address and not ray.is_initialized():
        message = f"RAY_ADDRESS is not set: a run starts a Ray of its own here, with {os.cpu_count()} CPUs"
        return Check("ray", "ok", message), []
    try:
        with ray_cluster.connected():
            nodes = [node for node in ray.nodes() if node["Alive"]]
    except Exception as error:
        remedy = f"is {address or 'it'} up, its Ray version {ray.__version__}, and RAY_AUTH_TOKEN its token?"
        return Check("ray", "wrong", str(error), remedy), []
    total = {kind: sum(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    message = f"{len(nodes)} nodes, {total['CPU']:g} CPUs, {total['GPU']:g} GPUs, Ray {ray.__version__}"
    return Check("ray", "ok", message), nodes


def check_gpus(settings: Settings, nodes: list[Mapping[str, Any]]) -> Iterator[Check]:
    """The GPUs of each node, and the preset that their servers get, with its reason."""
    owners = [node for node in nodes if node["Resources"].get("GPU")]
    if nodes and not owners:
        message = "no node with a GPU is up: if the cluster scales, the first run brings one"
        yield Check("gpus", "note", message, "else add a GPU node, or take --engine endpoint or llamacpp")
        return
    places: list[Mapping[str, Any] | None] = [*owners] or [None]
    for node in places:
        name = f"gpus of {node['NodeName']}" if node else "gpus"
        try:
            devices = _devices(settings, node)
            least = min(devices, key=lambda device: device.vram_gib)
            over, owned = settings.sglang.flags, settings.servers.gpus_per_server
            row = choose_preset(
                load_matrix(SCENARIOS), settings.sglang.scenario, least.name, least.vram_gib, gpus=owned, over=over
            )
        except Exception as error:
            message = str(ray_cluster.reason(error) or error)
            remedy = "is the driver there, and --scenario a row that fits? sglang.vram_gib tells what NVML can't"
            yield Check(name, "wrong", message, remedy)
            continue
        yield Check(name, "ok", f"{len(devices)} x {least.name}: {row.reason}")


def _devices(settings: Settings, node: Mapping[str, Any] | None) -> list[sglang.Gpu]:
    if settings.sglang.vram_gib:
        count = int(node["Resources"]["GPU"]) if node else settings.servers.gpus_per_server
        return [sglang.Gpu("GPU", settings.sglang.vram_gib)] * count
    if node is None:
        devices = sglang.visible_gpus()
    else:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        with ray_cluster.connected():
            asked = ray.remote(devices_here).options(num_cpus=0, scheduling_strategy=there).remote()
            devices = ray.get(asked, timeout=ASK_S)
    if not devices:
        raise RunError("NVML sees no GPU")
    return devices


def devices_here() -> list[sglang.Gpu]:
    """Ray: all GPUs of a node, whatever the task owns."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    return sglang.visible_gpus()


def check_model(settings: Settings, fleet: Fleet, nodes: int) -> Check:
    """Whether the model's files are there; those of an endpoint are its owner's business."""
    if fleet.engine == "endpoint":
        how = f"counted with {fleet.tokenizer}" if fleet.tokenizer else "estimated, without model.tokenizer"
        return Check("model", "ok", f"{fleet.model} at the endpoint; tokens of prompts are {how}")
    folder = Path(settings.model.name).expanduser()
    if folder.is_dir() and not list(folder.glob("*.safetensors")) and settings.model.load_format != "dummy":
        return Check("model", "wrong", f"{folder} holds no *.safetensors", "download the weights into it")
    if folder.is_dir() and nodes > 1:
        message = f"{folder} is a local folder, and there are {nodes} nodes"
        return Check("model", "note", message, "each GPU node needs it at that path, or take its name on the hub")
    if fleet.engine == "llamacpp" or folder.is_dir():
        return Check("model", "ok", f"{fleet.model} is here")
    cached = (huggingface_hub.try_to_load_from_cache(settings.model.name, name) for name in WEIGHTS)
    if any(isinstance(path, str) for path in cached):
        return Check("model", "ok", f"{fleet.model}: tokenizer and weights are in this machine's cache")
    message = f"{fleet.model}: the tokenizer is here, the weights are not: a node downloads them at its first start"
    return Check("model", "note", message, "a shared cache (HF_HOME) or an image that holds them saves that time")


def check_limits(settings: Settings, fleet: Fleet) -> Check:
    """How much of a chunk is left for the document, by the model's tokenizer."""
    try:
        made = Chunker(
            model=settings.profile_model(),
            prompt=settings.prompt,
            limits=settings.limits,
            counter=load_counter(fleet.tokenizer),
            template=fleet.template,
            fingerprint="",
        )
    except ProfilesError as error:
        return Check("limits", "wrong", str(error))
    message = f"a chunk has room for {made.budget:,} tokens of documents beside the prompt's {made.overhead:,}"
    return Check("limits", "ok", message)
