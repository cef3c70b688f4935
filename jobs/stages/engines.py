"""Engines as the driver sees them: model, tokenizer, limits, and how a server is made.

A model's tokenizer and chat template are in its folder, or in the cache of the model hub.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
)
from pydantic import SecretStr

from actors.servers.endpoint import EndpointServer, endpoint_key
from actors.servers.llamacpp import LlamaCppServer, local_model
from actors.servers.sglang import QUEUED_PER_RUNNING, SglangServer
from actors.servers.supervisor import Server
from extraction.chunking.chunk_identity import weights_digest
from extraction.config.settings import Engine, Model, Settings
from extraction.config.sglang_presets import Matrix, check, load_matrix
from extraction.errors import OperatorError, RunError, one_line
from jobs.stages import ray_cluster

LENGTH_OF_REASON = 160  # characters of what the model hub's library says
MODEL_CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class ModelFiles:
    """`folder` where the model is local, `revision` its commit in the hub where it is not; `tokenizer` None where
    none was found, so that counts are estimates."""

    folder: Path | None
    revision: str | None
    tokenizer: str | None
    template: str | None


def find_files(model: Model) -> ModelFiles:
    """Find them; the hub is asked which commit its revision is now, and for what its cache lacks (a few MB, not the
    weights). Without a connection the commit is the one that the cache has.

    Raises RunError when the hub can't be asked: to go on with estimates would make other chunks.
    """
    revision = model.revision
    folder = Path(model.name).expanduser()
    if folder.is_dir():
        if not (folder / TOKENIZER).is_file() and not model.tokenizer:
            raise OperatorError(f"--model {model.name}: there is no {TOKENIZER} in that folder")
        files: dict[str, Path | None] = {name: folder / name for name in (TOKENIZER, TOKENIZER_CONFIG)}
        local: Path | None = folder.resolve()
    elif model.name.startswith((".", "/", "~")):
        raise OperatorError(f"--model {model.name}: there is no such folder")
    else:
        files, local = {}, None
        for name in (MODEL_CONFIG, TOKENIZER, TOKENIZER_CONFIG):
            files[name] = path = _from_hub(model.name, revision, name)
            revision = path.parent.name if path else revision  # .../snapshots/<commit>/<name>
    tokenizer = model.tokenizer or (str(files[TOKENIZER]) if files[TOKENIZER] else None)
    if model.template:  # what the model has in its place need not be fetched
        return ModelFiles(local, revision, tokenizer, model.template)
    own = folder / TEMPLATE if local else _template_in_hub(model.name, revision)
    return ModelFiles(local, revision, tokenizer, _template(own, files[TOKENIZER_CONFIG]))


def _template_in_hub(model: str, revision: str | None) -> Path | None:
    cached = huggingface_hub.try_to_load_from_cache(model, TEMPLATE, revision=revision)
    if cached is not None:  # a path, or that this commit is known to have none: the hub need not be asked
        return Path(cached) if isinstance(cached, str) else None
    try:
        return _from_hub(model, revision, TEMPLATE)
    except RunError:  # without a connection: what has been fetched before need not have one
        return None


def _from_hub(model: str, revision: str | None, name: str) -> Path | None:
    huggingface_hub.logging.set_verbosity(logging.ERROR)  # what fails is raised, and told in a line
    try:
        return Path(huggingface_hub.hf_hub_download(model, name, revision=revision, etag_timeout=5))
    except (RemoteEntryNotFoundError, HFValidationError):
        return None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = one_line(str(error), LENGTH_OF_REASON)
        raise RunError(
            f"{name} of {model} can't be had from the model hub ({reason}): give --model a folder, or set "
            "model.tokenizer"
        ) from None


def _template(own: Path | None, config: Path | None) -> str | None:
    """The chat template of a file of its own, or of a tokenizer_config.json; None leaves ChatML, Qwen's."""
    if own is not None and own.is_file():
        return own.read_text(encoding="utf-8")
    if config is None or not config.is_file():
        return None
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None


SCENARIOS = Path(__file__).resolve().parents[2] / "configs" / "scenarios.yaml"
BOUNDED_GRAMMARS = ("llguidance", "outlines")  # xgrammar decodes six times slower with bounds on strings


@dataclass(frozen=True)
class Fleet:
    """How a run's servers are made, how many requests each takes, and what its prompts are counted with.

    `model` is the name that servers know it by, `tokenizer` a path that every node can read, None where
    counts are estimates. `bounded` says that the grammar takes bounds on strings cheaply. `limit` is the
    most requests at a time of any one server, `queued` of them for each that it works on, `gpus` what each server
    owns; where the memory of its GPU decides, `limits` are the requests by the GiB from which they hold. A model is
    known by the digest of its `weights`, or by its `revision` in the hub; `answer_flags` are those of the server
    that change answers.
    """

    engine: Engine
    make_server: Callable[[Path], Server]
    model: str
    bounded: bool
    tokenizer: str | None
    template: str | None
    weights: str | None
    limit: int
    gpus: int
    version: str
    revision: str | None = None
    answer_flags: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[float, int] = field(default_factory=dict)
    queued: int = 1

    def limit_on(self, vram_gib: float | None) -> int:
        """The most requests at a time of a server on GPUs of at most so much memory; of any if that is unknown."""
        held = {gib: limit for gib, limit in self.limits.items() if vram_gib is not None and gib <= vram_gib}
        return held[max(held)] if held else self.limit


def choose_engine(wanted: str) -> Engine:
    """The engine to use: as asked, or sglang where there is a GPU and llamacpp where there is none."""
    if wanted == "auto":
        return "sglang" if ray_cluster.gpus() else "llamacpp"
    return cast(Engine, wanted)


def fleet(engine: Engine, settings: Settings) -> Fleet:
    """The servers of an engine. Raises OperatorError for settings that it can't run with."""
    return {"llamacpp": _llamacpp, "endpoint": _endpoint, "sglang": _sglang}[engine](settings)


def _llamacpp(settings: Settings) -> Fleet:
    model = local_model(settings.model.name, settings.model.template)
    return Fleet(
        engine="llamacpp",
        make_server=partial(LlamaCppServer, settings),
        model=model.name,
        bounded=settings.wire != "light",
        tokenizer=settings.model.tokenizer or str(model.path),
        template=model.template,
        weights=model.sha256,
        limit=settings.llamacpp.slots,
        gpus=0,
        version=f"llama.cpp (xllamacpp {version_of('xllamacpp')})",
    )


def _endpoint(settings: Settings) -> Fleet:
    key = endpoint_key()
    secret = SecretStr(key) if key else None
    return Fleet(
        engine="endpoint",
        make_server=lambda _: EndpointServer(settings, secret),
        model=settings.model.name,
        bounded=settings.wire == "bounded",
        # Not what the hub's cache may hold: the same run on another machine is to make the same chunks.
        tokenizer=settings.model.tokenizer,
        template=settings.model.template,
        weights=None,
        limit=settings.endpoint.concurrency,
        gpus=0,
        version="endpoint",
        revision=settings.model.revision,
    )


def _sglang(settings: Settings) -> Fleet:
    matrix = load_matrix(SCENARIOS)
    check(matrix, settings.sglang.scenario)
    files = find_files(settings.model)
    pinned = settings.model_copy(update={"model": settings.model.model_copy(update={"revision": files.revision})})
    served = files.folder.name if files.folder else settings.model.name
    wanted = [row for name, row in matrix.scenarios.items() if settings.sglang.scenario in (name, "auto")]
    flags = [settings.sglang.flags.over(row.flags.over(matrix.common)) for row in wanted]
    bounded = all(f.grammar_backend in BOUNDED_GRAMMARS for f in flags)
    limits = [QUEUED_PER_RUNNING * (f.max_running_requests or 1) for f in flags]
    by_memory = {row.needs_gib: limit for row, limit in zip(wanted, limits, strict=True) if row.needs_gib}
    return Fleet(
        engine="sglang",
        make_server=partial(SglangServer, pinned, matrix, served),
        model=served,
        bounded=bounded if settings.wire == "auto" else settings.wire == "bounded",
        tokenizer=files.tokenizer,
        template=files.template,
        weights=weights_digest(files.folder) if files.folder else None,
        limit=max(limits),
        limits=by_memory if settings.sglang.scenario == "auto" else {},
        queued=QUEUED_PER_RUNNING,
        gpus=settings.servers.gpus_per_server,
        version=f"sglang {version_of('sglang')}",
        revision=files.revision,
        answer_flags=_answer_flags(settings, matrix),
    )


ANSWER_FLAGS = ("quantization", "kv_cache_dtype", "grammar_backend", "constrained_json_disable_any_whitespace")


def _answer_flags(settings: Settings, matrix: Matrix) -> dict[str, Any]:
    """The flags that change answers, of the settings and the row. `auto` takes its row where the GPU is, which
    the driver does not see: no such row sets them."""
    row = matrix.scenarios.get(settings.sglang.scenario)
    flags = settings.sglang.flags.over(row.flags.over(matrix.common) if row else matrix.common)
    values = {name: getattr(flags, name) for name in ANSWER_FLAGS}
    values["load_format"] = "dummy" if settings.model.load_format == "dummy" else None  # the others load the same
    return {name: value for name, value in values.items() if value and value != "auto"}


def version_of(package: str) -> str:
    """The installed version of a package, `unknown` where it runs from its source."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
