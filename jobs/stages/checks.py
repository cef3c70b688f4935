"""Checks: what can be known of a run before it starts, each with its remedy."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.servers import gpu
from extraction.config.scenarios import choose, load_matrix
from extraction.config.settings import Columns, Settings
from extraction.errors import ProfilesError, RunError
from jobs.stages import cluster, intake
from jobs.stages.engines import SCENARIOS, Fleet
from jobs.state.storage import storage_at

State = Literal["ok", "note", "wrong", "skipped"]
ASK_S = 120  # for a GPU node to say what it has
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and what to do where it is wrong. A note stops nothing."""

    name: str
    state: State
    said: str
    remedy: str = ""


def check_input(given: list[str], columns: Columns) -> Check:
    """Whether documents can be read, and how many there are."""
    try:
        found = intake.find(given, columns)
    except (ProfilesError, OSError) as error:
        return Check("input", "wrong", str(error))
    files = len({part.url for part in found.parts})
    said = f"{files:,} files, {found.rows:,} documents, {found.bytes / 1e6:,.1f} MB; the columns are there"
    if found.dead_letters:
        first = found.dead_letters[0]
        said += f"; {len(found.dead_letters):,} files can't be read, such as {first.source_path}: {first.message}"
        return Check("input", "note", said, "each of them will be a dead letter: mend them, or leave them out")
    return Check("input", "ok", said)


def check_folder(name: str, given: str, flag: str, nodes: int) -> Check:
    """Whether a folder can be written to; a local one must be everybody's where there are several nodes."""
    try:
        storage = storage_at(given, flag)
    except ProfilesError as error:
        return Check(name, "wrong", str(error), "give a folder or URL that this user, and every node, may write to")
    if storage.url.startswith("file://") and nodes > 1:
        said = f"{storage.url} is a local path, and there are {nodes} nodes"
        return Check(
            name, "note", said, "it must be the same shared folder on each of them, or a URL (s3://, gs://)"
        )
    return Check(name, "ok", f"{storage.url} can be written to")


def check_ray() -> tuple[Check, list[Mapping[str, Any]]]:
    """Whether the cluster answers, and its nodes; none where a run starts a Ray of its own."""
    address = os.environ.get("RAY_ADDRESS")
    if not address and not ray.is_initialized():
        said = f"RAY_ADDRESS is not set: a run starts a Ray of its own here, with {os.cpu_count()} CPUs"
        return Check("ray", "ok", said), []
    try:
        with cluster.connected():
            nodes = [node for node in ray.nodes() if node["Alive"]]
    except Exception as error:
        remedy = f"is {address or 'it'} up, its Ray version {ray.__version__}, and RAY_AUTH_TOKEN its token?"
        return Check("ray", "wrong", str(error), remedy), []
    total = {kind: sum(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    said = f"{len(nodes)} nodes, {total['CPU']:g} CPUs, {total['GPU']:g} GPUs, Ray {ray.__version__}"
    return Check("ray", "ok", said), nodes


def check_gpus(settings: Settings, nodes: list[Mapping[str, Any]]) -> Iterator[Check]:
    """The GPUs of each node, and the row of the scenario matrix that their servers get, with its reason."""
    owners = [node for node in nodes if node["Resources"].get("GPU")]
    if nodes and not owners:
        said = "no node with a GPU is up: if the cluster scales, the first run brings one"
        yield Check("gpus", "note", said, "else add a GPU node, or take --engine endpoint or llamacpp")
        return
    places: list[Mapping[str, Any] | None] = [*owners] or [None]
    for node in places:
        name = f"gpus of {node['NodeName']}" if node else "gpus"
        try:
            devices = _devices(settings, node)
            least = min(devices, key=lambda device: device.vram_gib)
            over, owned = settings.sglang.flags, settings.servers.gpus_per_server
            row = choose(
                load_matrix(SCENARIOS), settings.sglang.scenario, least.name, least.vram_gib, gpus=owned, over=over
            )
        except Exception as error:
            said = str(cluster.reason(error) or error)
            remedy = "is the driver there, and --scenario a row that fits? sglang.vram_gib tells what NVML can't"
            yield Check(name, "wrong", said, remedy)
            continue
        yield Check(name, "ok", f"{len(devices)} x {least.name}: {row.reason}")
        yield from _long_prompts(settings, row.flags.chunked_prefill_size or 8192)


def _devices(settings: Settings, node: Mapping[str, Any] | None) -> list[gpu.Gpu]:
    if settings.sglang.vram_gib:
        count = int(node["Resources"]["GPU"]) if node else settings.servers.gpus_per_server
        return [gpu.Gpu("GPU", settings.sglang.vram_gib)] * count
    if node is None:
        found = gpu.visible()
    else:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        with cluster.connected():
            asked = ray.remote(devices_here).options(num_cpus=0, scheduling_strategy=there).remote()
            found = ray.get(asked, timeout=ASK_S)
    if not found:
        raise RunError("NVML sees no GPU")
    return found


def devices_here() -> list[gpu.Gpu]:
    """Ray: all GPUs of a node, whatever the task owns."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    return gpu.visible()


def _long_prompts(settings: Settings, piece: int) -> Iterator[Check]:
    longest = settings.limits.max_chunk_tokens
    if longest > 4 * piece:
        said = f"a prompt of {longest:,} tokens is read in {-(-longest // piece)} pieces of {piece:,}"
        yield Check("long prompts", "note", said, "slow? Where memory allows --scenario long_prompts")


def check_model(settings: Settings, fleet: Fleet, nodes: int) -> Check:
    """Whether the model's files are there; those of an endpoint are its owner's business."""
    if fleet.engine == "endpoint":
        how = f"counted with {fleet.tokenizer}" if fleet.tokenizer else "estimated, without model.tokenizer"
        return Check("model", "ok", f"{fleet.model} at the endpoint; tokens of prompts are {how}")
    folder = Path(settings.model.name).expanduser()
    if folder.is_dir() and not list(folder.glob("*.safetensors")) and settings.model.load_format != "dummy":
        return Check("model", "wrong", f"{folder} holds no *.safetensors", "download the weights into it")
    if folder.is_dir() and nodes > 1:
        said = f"{folder} is a local folder, and there are {nodes} nodes"
        return Check("model", "note", said, "each GPU node needs it at that path, or take its name on the hub")
    if fleet.engine == "llamacpp" or folder.is_dir():
        return Check("model", "ok", f"{fleet.model} is here")
    cached = (huggingface_hub.try_to_load_from_cache(settings.model.name, name) for name in WEIGHTS)
    if any(isinstance(path, str) for path in cached):
        return Check("model", "ok", f"{fleet.model}: tokenizer and weights are in this machine's cache")
    said = f"{fleet.model}: the tokenizer is here, the weights are not: each node downloads them at its first start"
    return Check("model", "note", said, "a shared cache (HF_HOME) or an image that holds them saves that time")


def check_sampling(settings: Settings) -> Iterator[Check]:
    """Temperature 0, no penalties, and room for prompt and answer."""
    drawn, limits = settings.sampling, settings.limits
    if drawn.temperature:
        said = f"sampling.temperature = {drawn.temperature:g}: the same document gets other answers each time"
        yield Check("temperature", "wrong", said, "--set sampling.temperature=0")
    else:
        yield Check("temperature", "ok", "sampling.temperature = 0")
    if drawn.frequency_penalty or drawn.presence_penalty:
        said = f"frequency_penalty = {drawn.frequency_penalty:g}, presence_penalty = {drawn.presence_penalty:g}"
        yield Check("penalties", "note", said, "they count against JSON's own signs, too: 0 unless it was measured")
    if limits.max_chunk_tokens + limits.max_output_tokens > limits.context_length:
        said = (
            f"limits.max_chunk_tokens = {limits.max_chunk_tokens:,} and limits.max_output_tokens = "
            f"{limits.max_output_tokens:,} exceed limits.context_length = {limits.context_length:,}"
        )
        yield Check("limits", "wrong", said, "lower one of the first two")
