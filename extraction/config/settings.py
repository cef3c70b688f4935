"""The configuration of a run: YAML, parsed once into frozen models that refuse unknown keys."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from extraction.base import Amount, Count, Frozen, Seconds
from extraction.config.sglang_presets import Flags
from extraction.errors import OperatorError
from extraction.merging.confidence import Calibration, Minima, Probability
from extraction.prompting.prompt import Prompt
from extraction.schema.arrow_types import struct_of
from extraction.schema.profile_model import fields

Engine = Literal["sglang", "llamacpp", "endpoint"]


MILLION = 1_000_000


class Price(Frozen):
    """Prices in one currency; what is not priced costs nothing."""

    gpu_hour: Amount = 0
    million_prompt_tokens: Amount = 0
    million_output_tokens: Amount = 0
    currency: str = "USD"

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return bool(self.gpu_hour or self.million_prompt_tokens or self.million_output_tokens)

    def of(self, *, gpu_hours: float, prompt_tokens: int, output_tokens: int) -> float:
        """The cost of some GPU-hours and tokens."""
        tokens = prompt_tokens * self.million_prompt_tokens + output_tokens * self.million_output_tokens
        return gpu_hours * self.gpu_hour + tokens / MILLION


class Columns(Frozen):
    """Names of the input's columns. Only `document_id` and `text` have to be there; `company_name` and `website`
    are what the input knows of the company that a document is about."""

    document_id: str = "document_id"
    text: str = "text"
    company_id: str = "company_id"
    title: str = "title"
    url: str = "url"
    document_type: str = "document_type"
    document_date: str = "document_date"
    company_name: str = "company_name"
    website: str = "website"


class Model(Frozen):
    """The language model: `name` as servers know it or the path of its files, `revision` the commit of its
    weights, `tokenizer` a tokenizer.json or a folder with one where it is not found by the name.
    """

    name: str
    revision: str | None = None
    tokenizer: str | None = None
    template: str | None = None
    load_format: Literal["auto", "safetensors", "dummy"] | None = None


class Limits(Frozen):
    """Tokens, bytes and counts. `max_chunk_tokens` holds the prompt as well as the document's text.

    Small documents of one company share a chunk of up to `group_target_tokens` of text; null keeps them apart.
    """

    max_chunk_tokens: Count = 12_000
    group_target_tokens: Count | None = 8_000
    system_prompt_overhead: Count = 3_000
    max_output_tokens: Count = 4_096
    context_length: Count = 32_768
    max_document_bytes: Count = 50_000_000
    max_chunks_per_document: Count = 2_000


class Sampling(Frozen):
    """How answers are drawn. `retry_*` hold for the one changed retry after a loop or an invalid answer."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    retry_temperature: Annotated[float, Field(ge=0, le=2)] = 0.3
    retry_frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.4
    seed: int = 0


class Requests(Frozen):
    """How servers are asked. `deadline_s` is for one attempt, from when it is sent to the end of its reply;
    `attempts` for a chunk, or each part of one that is asked in parts. What a server's death cost is not counted.
    """

    deadline_s: Seconds = 900
    attempts: Count = 5
    backoff_s: Seconds = 0.5
    backoff_max_s: Seconds = 60


class Servers(Frozen):
    """How many servers a run may own and how they are held.

    `labels` are Ray's, for the nodes that servers may be placed on: {"extract/vram-gb": "in(80,141)"}. `drain_s` is
    what requests under way get to end when their node is taken away, unless it goes sooner.
    """

    min_servers: Count = 1
    max_servers: Count | None = None
    gpus_per_server: Count = 1
    labels: dict[str, str] = Field(default_factory=dict)
    start_timeout_s: Seconds = 900
    drain_s: Seconds = 60
    max_deaths: Count = 10  # before an actor gives up; those under a chunk that is asked alone don't count
    deaths_within_s: Seconds = 600


class LlamaCpp(Frozen):
    """llama.cpp on CPU: `slots` requests at a time, `threads` by default one a core."""

    slots: Count = 4
    threads: Count | None = None


class Sglang(Frozen):
    """SGLang on GPUs: the scenario's name, `auto` by the memory of the actor's own GPU.

    `flags` are laid over the row's. `vram_gib` is taken for the GPU's memory where NVML can't tell (some
    virtual GPUs and containers).
    """

    scenario: str = "auto"
    flags: Flags = Flags()
    vram_gib: Annotated[float, Field(gt=0)] | None = None
    command: tuple[str, ...] = ("python", "-m", "sglang.launch_server")


class Endpoint(Frozen):
    """An OpenAI-compatible URL that somebody else runs; its key comes from the environment."""

    url: str | None = None
    concurrency: Count = 32


class LedgerSettings(Frozen):
    """How often an actor writes its answers down: what a crash can lose is younger than that."""

    flush_s: Seconds = 5
    flush_rows: Count = 200


class BreakerSettings(Frozen):
    """When a run stops for what fails: more than `failed_fraction` of the last `chunks` chunks, or all of the first
    `alike` with the same fault. A fraction of 1 never stops."""

    failed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    chunks: Count = 200
    alike: Count = 50


class Confidence(Frozen):
    """How sure a published value has to be.

    `calibration` names a file beside the settings, fitted by `jobs/calibrate.py` for their model; without one
    values have a score that is no probability. `min_confidence` is one number or one a field (by dotted path,
    `default` for the others); null takes the calibration's own, which is 0 where there is none. `logprobs` asks
    servers for the log-probabilities of what they write.
    """

    calibration: Calibration | None = None
    min_confidence: Probability | Minima | None = None
    logprobs: bool = True

    def minimum(self, field: str, calibration: Calibration | None) -> float:
        """What a field's value needs to be published, by a calibration that fits the run's model, if there is
        one."""
        minima = self.minima(calibration)
        return minima.get(field, minima["default"])

    def minima(self, calibration: Calibration | None) -> Minima:
        """The same for all fields: those that the settings give before those of the calibration."""
        own: Minima = {"default": 0.0, **(calibration.min_confidence if calibration else {})}
        match self.min_confidence:
            case None:
                return own
            case dict() as given:
                return given if "default" in given else {**own, **given}
            case number:
                return {"default": number}


class Settings(Frozen):
    """Everything that a run is told. `trust` weighs a document's vote by its document_type; others weigh 1."""

    profile: str = "extraction.schema.company:CompanyProfile"
    prompt: Prompt
    wire: Literal["auto", "bounded", "light"] = "auto"
    columns: Columns = Columns()
    model: Model
    limits: Limits = Limits()
    sampling: Sampling = Sampling()
    requests: Requests = Requests()
    servers: Servers = Servers()
    ledger: LedgerSettings = LedgerSettings()
    breaker: BreakerSettings = BreakerSettings()
    confidence: Confidence = Confidence()
    llamacpp: LlamaCpp = LlamaCpp()
    sglang: Sglang = Sglang()
    endpoint: Endpoint = Endpoint()
    price: Price = Price()
    trust: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    max_dead_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05

    def profile_model(self) -> type[BaseModel]:
        """The pydantic model that `profile` names. Raises OperatorError when there is none."""
        return profile_model(self.profile)


def profile_model(named: str) -> type[BaseModel]:
    """The pydantic model of a `module:Model`. Raises OperatorError when there is none."""
    module, _, name = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise OperatorError(f"profile: {named!r} can't be imported ({error}): give module:Model") from None
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise OperatorError(f"profile: {named!r} is no pydantic model: give module:Model")
    return found


def load_settings(path: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read a configuration file, with overrides such as {"limits.max_chunk_tokens": 8000} laid over it.

    `prompt` and `confidence.calibration` name files beside it. Raises OperatorError with the file, the key and what
    is wrong.
    """
    raw, laid = read_yaml(path), dict(overrides or {})
    if "prompt" in laid:
        raw["prompt"] = laid.pop("prompt")
    if isinstance(raw.get("prompt"), str):  # first, so that overrides reach into it
        raw["prompt"] = read_yaml(path.parent / raw["prompt"])
    if "confidence.calibration" in laid:
        override(raw, "confidence.calibration", laid.pop("confidence.calibration"))
    confidence = raw.get("confidence")
    if isinstance(confidence, dict) and isinstance(confidence.get("calibration"), str):
        raw["confidence"] = {**confidence, "calibration": read_yaml(path.parent / confidence["calibration"])}
    for key, value in laid.items():
        override(raw, key, value)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f" (given: {first['input']!r:.80})"
        raise OperatorError(f"{path}: {where}: {first['msg']}{given}") from None
    model = settings.profile_model()
    struct_of(model)  # what can't be merged or published shows here, not after the last answer
    fields(model)
    settings.prompt.check(model)
    return settings


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises OperatorError where it can't be read or holds none."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError(f"{path} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise OperatorError(f"{path} holds no settings: `key: value` lines are expected")
    return raw


def parse_override(text: str) -> tuple[str, Any]:
    """The key and value of a `key.inner=value`, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise OperatorError(f"--set {text}: KEY=VALUE is expected, such as limits.max_chunk_tokens=8000")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise OperatorError(f"--set {text}: {value!r} is not a YAML value") from None


def override(raw: dict[str, Any], key: str, value: Any) -> None:
    """Lay one value over the raw settings."""
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        inner = node.setdefault(parent, {})
        if not isinstance(inner, Mapping):
            raise OperatorError(f"{key}: {parent} has no keys of its own")
        node[parent] = dict(inner)
        node = node[parent]
    node[last] = value
