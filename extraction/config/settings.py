"""The configuration of a run: YAML, parsed once into frozen models that refuse unknown keys."""

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from extraction.config.sglang_presets import Flags
from extraction.errors import OperatorError, described_error, one_line
from extraction.merging.confidence import Calibration, Minima
from extraction.prompting.prompt import Prompt, prompt_digest
from extraction.schema.profile_model import facts, model_among, options_of
from extraction.settings_base import Amount, Count, Frozen, Seconds, load_yaml

Engine = Literal["sglang", "llamacpp", "endpoint"]
NAMED_MODEL = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


MILLION = 1_000_000


class Price(Frozen):
    """Prices in one currency; what is not priced costs nothing."""

    gpu_hour: Amount = Field(default=0, description="Price of an hour of one GPU")
    million_prompt_tokens: Amount = Field(default=0, description="Price of a million prompt tokens")
    million_output_tokens: Amount = Field(default=0, description="Price of a million output tokens")
    currency: str = Field(default="USD", description="Currency of the prices, as reports show it")

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return bool(self.gpu_hour or self.million_prompt_tokens or self.million_output_tokens)

    def of(self, *, gpu_hours: float, prompt_tokens: int, output_tokens: int) -> float:
        """The cost of some GPU-hours and tokens."""
        tokens = prompt_tokens * self.million_prompt_tokens + output_tokens * self.million_output_tokens
        return gpu_hours * self.gpu_hour + tokens / MILLION


EpochUnit = Literal["s", "ms", "us", "ns"]


class Columns(Frozen):
    """Names of the input's columns, and how its dates are written."""

    document_id: str = Field(
        default="document_id", description="Column of the document's id, which has to be there"
    )
    text: str = Field(default="text", description="Column of the text, which has to be there")
    company_id: str = Field(
        default="company_id",
        description="Column of the company's id; without one each document is a company of its own",
    )
    title: str = Field(
        default="title", description="Column of the title, which stands before the text in a request"
    )
    url: str = Field(default="url", description="Column of the address, which stands before a text without a title")
    document_type: str = Field(
        default="document_type",
        description="Column of the kind of document, which `trust` and calibration go by",
    )
    document_date: str = Field(
        default="document_date",
        description="Column of the date, which the merge rule `latest` goes by: a date, a timestamp, text in a "
        "form of ISO 8601, or a number such as 20240501",
    )
    company_name: str = Field(
        default="company_name",
        description="Column of the name of the company that is meant, where it is known",
    )
    website: str = Field(default="website", description="Column of that company's website, where it is known")
    epoch_unit: EpochUnit | None = Field(
        default=None,
        description="What numbers in the date's column count since 1970: `s`, `ms`, `us` or `ns`; `null` reads "
        "them as yyyymmdd or as a year. In a column of texts only what is no date is such a number",
    )


class Model(Frozen):
    """The language model."""

    name: str = Field(
        description="The name that servers know the model by, a folder with its files, or for llama.cpp a GGUF file"
    )
    revision: str | None = Field(default=None, description="Commit of the weights in the model hub")
    tokenizer: str | None = Field(
        default=None,
        description="A tokenizer.json, a folder with one, or a GGUF file, where the name leads to none; an "
        "endpoint's tokens are estimated without it",
    )
    template: str | None = Field(default=None, description="Chat template (Jinja) in place of the model's own")
    load_format: Literal["auto", "safetensors", "dummy"] | None = Field(
        default=None, description="SGLang's option of that name; `dummy` means random weights"
    )


class Limits(Frozen):
    """Tokens, bytes and counts."""

    max_chunk_tokens: Count = Field(
        default=12_000, description="Most tokens of a prompt: instructions, examples and text"
    )
    group_target_tokens: Count | None = Field(
        default=8_000,
        description="Most tokens of text in a request that holds several documents of a company; `null` gives each "
        "document requests of its own",
    )
    system_prompt_overhead: Count = Field(
        default=3_000,
        description="Tokens reserved for instructions and examples; they take more if they need more",
    )
    max_output_tokens: Count = Field(
        default=4_096,
        description="Most tokens of a reply: 512 and as many as the text has, up to this; a reply that is cut off "
        "is asked for again with twice as many",
    )
    context_length: Count = Field(
        default=32_768, description="Tokens that the model takes in a prompt and its reply together"
    )
    max_document_bytes: Count = Field(default=50_000_000, description="A larger document is a dead letter")
    max_chunks_per_document: Count = Field(default=2_000, description="A document of more chunks is a dead letter")


class Sampling(Frozen):
    """How answers are drawn. `retry_*` hold for the one changed retry after a loop or an invalid answer."""

    temperature: float = Field(default=0.0, ge=0, le=2, description="Temperature of the first attempt")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="Frequency penalty of the first attempt")
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="Presence penalty of all attempts")
    retry_temperature: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="Temperature of the retry after a reply that loops or is not valid",
    )
    retry_frequency_penalty: float = Field(default=0.4, ge=-2, le=2, description="Frequency penalty of that retry")
    seed: int = Field(default=0, description="Seed of the first attempt; that retry adds 1")


class Requests(Frozen):
    """How servers are asked."""

    deadline_s: Seconds = Field(
        default=900, description="Seconds that an attempt may take, from sending it to the end of its reply"
    )
    attempts: Count = Field(
        default=5,
        description="Attempts at a chunk, or at each part of one that is asked in parts; a server's death costs "
        "none, nor does a request that the server wants later",
    )
    backoff_s: Seconds = Field(
        default=0.5,
        description="Before retry n the client waits a random time of up to this many seconds times 2 to the n",
    )
    backoff_max_s: Seconds = Field(
        default=60, description="Longest wait in seconds, also where a server asks for a longer one"
    )


class Servers(Frozen):
    """How many servers a run may own and how they are held."""

    min_servers: Count = Field(
        default=1, description="Servers that a run starts at least, if there are as many chunks to ask"
    )
    max_servers: Count | None = Field(
        default=None,
        description="Servers that it starts at most; `null` leaves that to the work and the GPUs, and without GPUs "
        "starts the least",
    )
    gpus_per_server: Count = Field(default=1, description="GPUs of a server (tensor parallel)")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Ray labels of the nodes that servers may be placed on, such as "
        "`{extract/vram-gb: in(80,141)}`",
    )
    start_timeout_s: Seconds = Field(
        default=900, description="Seconds that a server may take until it is ready, or may ask to be left alone"
    )
    drain_s: Seconds = Field(
        default=60,
        description="Seconds that requests under way get when their node is taken away, unless it goes sooner",
    )
    max_deaths: Count = Field(
        default=10,
        description="Deaths of a server after which its actor gives up and Ray places it anew; deaths under a "
        "chunk that is asked alone do not count",
    )
    deaths_within_s: Seconds = Field(
        default=600, description="Seconds in which the server was up, within which these deaths have to happen"
    )


class LlamaCpp(Frozen):
    """llama.cpp on CPU."""

    slots: Count = Field(default=4, description="Requests at a time")
    threads: Count | None = Field(default=None, description="Threads; `null` takes one for each core")


class Sglang(Frozen):
    """SGLang on GPUs; `flags` take precedence over the preset's."""

    scenario: str = Field(
        default="auto",
        description="The preset: its name in `configs/scenarios.yaml`, or `auto`: by the memory of the GPU",
    )
    flags: Flags = Flags()
    vram_gib: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Memory of the GPU in GiB, where NVML can't tell it (some virtual GPUs and containers)",
    )
    command: tuple[str, ...] = Field(
        default=("python", "-m", "sglang.launch_server"), description="The command that starts a server"
    )


class Endpoint(Frozen):
    """An OpenAI-compatible server that somebody else runs; its key comes from the environment."""

    url: str | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible server; `null` takes it from the environment",
    )
    concurrency: Count = Field(default=32, description="Requests at a time")


class LedgerSettings(Frozen):
    """How often an actor writes its answers down."""

    flush_s: Seconds = Field(
        default=5, description="Seconds after which an actor writes its results down; a crash loses no older ones"
    )
    flush_rows: Count = Field(default=200, description="Results after which it writes earlier")


class Publications(Frozen):
    """How long what was published stays."""

    keep: Count = Field(
        default=3, description="Publications whose files are kept, the last one included; older ones are deleted"
    )


class BreakerSettings(Frozen):
    """When a run stops for what fails."""

    failed_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A run stops when a larger share of the last chunks failed; 1 never stops",
    )
    chunks: Count = Field(default=200, description="Number of last chunks that are looked at")
    alike: Count = Field(
        default=50, description="A run also stops when the first so many chunks all fail with the same fault"
    )


class Confidence(Frozen):
    """How sure a published value has to be."""

    calibration: Calibration | None = Field(
        default=None,
        description="Name of a calibration file beside the settings file, fitted by `jobs/calibrate.py` for the "
        "model, profile and prompt; for others it is not applied, and the run says so. Without one the confidence "
        "of a value is a score, not a probability",
    )
    min_confidence: Minima | None = Field(
        default=None,
        description="Confidence that a value needs to be published: one number for all fields, or a mapping of a "
        "field's path to a number. A mapping with `default` (for the fields that it does not name) replaces "
        "the calibration's thresholds; a mapping without `default` is laid over them. `null` takes the "
        "calibration's thresholds, and 0 without a calibration",
    )
    logprobs: bool = Field(
        default=True, description="Whether to ask servers for the log-probabilities of their tokens"
    )

    @field_validator("min_confidence", mode="before")
    @classmethod
    def _of_all_fields(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, Mapping) else {"default": value}

    def minima(self, calibration: Calibration | None) -> Minima:
        """What a field's value needs to be published: what the settings give before what a calibration gives that
        fits the run's model, if there is one."""
        own: Minima = {"default": 0.0, **(calibration.min_confidence if calibration else {})}
        given = self.min_confidence or {}
        return given if "default" in given else {**own, **given}


class Settings(Frozen):
    """All settings of a run."""

    profile: str = Field(
        default="extraction.schema.company:CompanyProfile", description="The profile model as `module:Model`"
    )
    prompt: Prompt
    wire: Literal["auto", "bounded", "light"] = Field(
        default="auto",
        description="Whether the response schema keeps the length limits of strings (`bounded`) or not (`light`); "
        "`auto` keeps them for llama.cpp and for SGLang with llguidance or outlines",
    )
    columns: Columns = Columns()
    model: Model
    limits: Limits = Limits()
    sampling: Sampling = Sampling()
    requests: Requests = Requests()
    servers: Servers = Servers()
    ledger: LedgerSettings = LedgerSettings()
    publications: Publications = Publications()
    breaker: BreakerSettings = BreakerSettings()
    confidence: Confidence = Confidence()
    llamacpp: LlamaCpp = LlamaCpp()
    sglang: Sglang = Sglang()
    endpoint: Endpoint = Endpoint()
    price: Price = Price()
    lineage: str | None = Field(
        default=None,
        description="Where OpenLineage events of runs go: the URL of a server, such as `http://marquez:5000`, or a "
        "local file, which gets a line of JSON for each",
    )
    trust: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="What a document's vote weighs, by its document type; a type that is not named weighs 1",
    )
    max_dead_fraction: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Dead documents, as a share of all, above which the exit code is 3",
    )

    def profile_model(self) -> type[BaseModel]:
        """The pydantic model that `profile` names. Raises OperatorError when there is none."""
        return profile_model(self.profile)

    def misfit(self, model: str) -> str | None:
        """Why the calibration is not applied to a language model's answers; None where it is, or there is none."""
        given, prompt = self.confidence.calibration, prompt_digest(self.prompt.model_dump(mode="json"))
        return given.fitted.misfit(model=model, profile=self.profile, prompt=prompt) if given else None


def profile_model(named: str) -> type[BaseModel]:
    """The pydantic model of a `module:Model`. Raises OperatorError when there is none."""
    if not NAMED_MODEL.fullmatch(named):
        raise OperatorError(
            f"the profile model {named!r} is not of the form module:Model: the class Maker of mine/maker.py is "
            "maker:Maker, with PYTHONPATH=mine"
        )
    module, _, name = named.partition(":")
    try:
        model = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the user's own module raises
        reason, remedy = described_error(error), "mend the module, or install what it imports"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            reason = f"there is no module {error.name}"
            remedy = "PYTHONPATH has to hold the folder that it is in, here and on every node of a cluster"
        raise OperatorError(f"the profile model {named!r} can't be imported ({reason}): {remedy}") from None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        what = "is no pydantic model" if model is not None else f"is not there: {module} has no {name}"
        raise OperatorError(f"the profile model {named!r} {what}")
    return model


def load_settings(path: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read a configuration file, with overrides such as {"limits.max_chunk_tokens": 8000} applied to it.

    `prompt` and `confidence.calibration` name files beside it. Raises OperatorError with the file, the key and what
    is wrong.
    """
    raw, pending = read_yaml(path), dict(overrides or {})
    if "prompt" in pending:
        raw["prompt"] = pending.pop("prompt")
    if isinstance(raw.get("prompt"), str):  # first, so that overrides reach into it
        raw["prompt"] = read_yaml(path.parent / raw["prompt"])
    if "confidence.calibration" in pending:
        override(raw, "confidence.calibration", pending.pop("confidence.calibration"), Settings)
    confidence = raw.get("confidence")
    if isinstance(confidence, dict) and isinstance(confidence.get("calibration"), str):
        raw["confidence"] = {**confidence, "calibration": read_yaml(path.parent / confidence["calibration"])}
    for key, value in pending.items():
        override(raw, key, value, Settings)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise refused(error, path, overrides or {}, Settings) from None
    model = settings.profile_model()
    # What can't be asked for, merged or published shows here, not after the last answer.
    known = ["default", *(field.name for field in facts(model))]
    for name in set(settings.confidence.min_confidence or ()).difference(known):
        key = f"confidence.min_confidence.{name}"
        source = f"--set {key}" if key in pending else f"{path}: {key}"
        raise OperatorError(f"{source}: {model.__name__} publishes no field of this name{_meant(name, known)}")
    try:
        settings.prompt.check(model)
    except OperatorError as error:
        raise OperatorError(f"{path}: {error}") from None
    return settings


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises OperatorError where it can't be read or holds none."""
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError(f"{path} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path} is not YAML: {one_line(str(error))}") from None
    if not isinstance(raw, dict):
        raise OperatorError(f"{path} holds no settings: `key: value` lines are expected")
    return raw


def parse_override(text: str) -> tuple[str, Any]:
    """The key and value of a `key.inner=value`, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise OperatorError(f"--set {text}: KEY=VALUE is expected, such as limits.max_chunk_tokens=8000")
    try:
        return key, load_yaml(value)
    except yaml.YAMLError:
        raise OperatorError(f"--set {text}: {value!r} is not a YAML value") from None


def refused(
    error: ValidationError, path: Path, overrides: Mapping[str, Any], model: type[BaseModel]
) -> OperatorError:
    """What is wrong with settings: the place that it came from, the key, the value, and what may be meant."""
    first = error.errors()[0]
    where = tuple(map(str, first["loc"]))
    if not where:  # of the keys together
        return OperatorError(f"{path}: {first['msg']}")
    depth = next(n for n in range(len(where), 0, -1) if _names_at(model, where[: n - 1]))
    keys = [key for key in overrides if _meet(parts_of(key, model), where[:depth])]
    keys.sort(key=lambda key: not _meet(parts_of(key, model), where))  # of several keys of a mapping the one
    source = next((f"--set {key}" for key in keys), path)
    given = "" if first["type"] == "missing" else f" (given: {first['input']!r:.80})"
    known = _names_at(model, where[:-1]) if first["type"] == "extra_forbidden" else ()
    meant = _meant(where[-1], known, where[:-1])
    key = ".".join(where)
    place = source if source == f"--set {key}" else f"{source}: {key}"
    message = "there is no such key" if first["type"] == "extra_forbidden" else first["msg"]
    return OperatorError(f"{place}: {message}{given}{meant}")


def _meant(name: str, known: Iterable[str], within: Sequence[str] = ()) -> str:
    """What may be meant by a name that is not known."""
    alike = get_close_matches(name, known, 1)
    return f": did you mean {'.'.join([*within, *alike])}?" if alike else ""


def _meet(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one path begins with the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def parts_of(key: str, model: type[BaseModel]) -> list[str]:
    """The parts of a dotted key; what stands behind a mapping of names is one name, whatever dots are in it."""
    parts = key.split(".")
    known = next((n for n in range(len(parts)) if not _names_at(model, parts[:n])), len(parts))
    return [*parts[:known], *filter(None, [".".join(parts[known:])])]


def _names_at(model: type[BaseModel] | None, where: Sequence[str]) -> dict[str, FieldInfo]:
    """The keys of the model at a place in another; none where there is no model, or a mapping or list around it."""
    names: dict[str, FieldInfo] = {}
    for part in (None, *where):
        if part is not None:
            model = model_among(options_of(names[part].annotation)) if part in names else None
        names = {info.alias or name: info for name, info in model.model_fields.items()} if model else {}
    return names


def override(raw: dict[str, Any], key: str, value: Any, model: type[BaseModel]) -> None:
    """Lay one value over raw settings, which are to be those of a model."""
    *parents, last = parts_of(key, model)
    node = raw
    for parent in parents:
        inner = node.get(parent)
        inner = node.setdefault(parent, {}) if inner is None else inner
        if not isinstance(inner, Mapping):
            raise OperatorError(f"--set {key}: {parent} has no keys of its own (it is {inner!r:.80})")
        node[parent] = dict(inner)
        node = node[parent]
    node[last] = value
