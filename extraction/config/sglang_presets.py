"""SGLang's flags by GPU memory: the presets of `configs/scenarios.yaml`, and the flags that they may set.

The flags are an allow-list, spelled so that all supported versions of SGLang take them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from extraction.errors import OperatorError, one_line
from extraction.settings_base import Count, Frozen, load_yaml


class Flags(Frozen):
    """The flags that a row may set, as SGLang 0.5 names them. There are no others: not the host, no keys,
    nothing that loads code."""

    context_length: Count | None = Field(
        default=None, description="Tokens of a prompt and its reply; never more than `limits.context_length`"
    )
    chunked_prefill_size: Count | None = Field(
        default=None, description="Tokens of a prompt that are computed in one step"
    )
    max_prefill_tokens: Count | None = Field(
        default=None, description="Tokens of all prompts that are computed in one step"
    )
    mem_fraction_static: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Share of the GPU's memory for weights and KV cache; lowered where it does not fit",
    )
    max_running_requests: Count | None = Field(default=None, description="Requests at a time")
    cuda_graph_max_bs: Count | None = Field(default=None, description="Largest batch that a CUDA graph is made for")
    grammar_backend: Literal["xgrammar", "outlines", "llguidance", "none"] | None = Field(
        default=None, description="What keeps replies to the response schema"
    )
    constrained_json_disable_any_whitespace: bool | None = Field(
        default=None, description="No white space between the signs of JSON"
    )
    schedule_policy: Literal["fcfs", "lpm", "random"] | None = Field(
        default=None, description="Order of waiting requests"
    )
    disable_prefill_cuda_graph: bool | None = Field(default=None, description="No CUDA graphs for prompts")
    disable_radix_cache: bool | None = Field(default=None, description="No prefix cache")
    enable_mixed_chunk: bool | None = Field(default=None, description="Prompts and replies in one batch")
    quantization: Literal["fp8"] | None = Field(
        default=None, description="Precision of the weights; changes replies"
    )
    kv_cache_dtype: Literal["auto", "fp8_e4m3", "fp8_e5m2"] | None = Field(
        default=None, description="Precision of the KV cache; changes replies"
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None, description="How much the server logs"
    )

    def over(self, other: "Flags") -> "Flags":
        """These flags, with the other's where these set nothing."""
        return Flags(**{**other.explicit(), **self.explicit()})

    def explicit(self) -> dict[str, Any]:
        """The flags that are set."""
        return self.model_dump(exclude_none=True)

    def arguments(self) -> dict[str, Any]:
        """Names and values as SGLang 0.5.17 to 0.5.23 take them.

        `--cuda-graph-max-bs` is ambiguous in 0.5.23, the longer name is known to both; a flag that is
        false is left out.
        """
        names = {"cuda_graph_max_bs": "cuda-graph-max-bs-decode"}
        arguments = {names.get(key, key.replace("_", "-")): value for key, value in self.explicit().items()}
        return {key: value for key, value in arguments.items() if value is not False}


MIB_PER_GIB = 1024
LEAST_STATIC = 0.3  # a server with less memory for weights and KV cache than this does no useful work


class Scenario(Frozen):
    """A row of the matrix."""

    needs_gib: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Memory in GiB from which `auto` may take the preset; `null` leaves it to its name",
    )
    flags: Flags = Field(description="Its flags: keys of `sglang.flags`")


class Matrix(Frozen):
    """All rows, by name."""

    common: Flags = Field(default=Flags(), description="Flags of all presets, where these say nothing else")
    scenarios: Mapping[str, Scenario] = Field(description="The presets by name")


@dataclass(frozen=True)
class Choice:
    """A row for a GPU: its name, all its flags, and the reason in one sentence."""

    name: str
    flags: Flags
    reason: str


def load_matrix(path: Path) -> Matrix:
    """Read the matrix. Raises OperatorError with the row and flag that is wrong."""
    try:
        return Matrix.model_validate(load_yaml(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise OperatorError(f"{path} can't be read: {one_line(str(error))}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OperatorError(f"{path}: {where}: {first['msg']}") from None


def check(matrix: Matrix, wanted: str) -> None:
    """Raise OperatorError unless a row of that name, or `auto`, can be asked for."""
    if wanted != "auto" and wanted not in matrix.scenarios:
        raise OperatorError(f"--scenario {wanted}: there are {', '.join(matrix.scenarios)} and auto")


def choose_preset(
    matrix: Matrix, wanted: str, gpu: str, vram_gib: float, *, gpus: int = 1, over: Flags | None = None
) -> Choice:
    """The row for a GPU of `vram_gib` GiB, by name or `auto`, with as much static memory as fits.

    `over` are flags that take precedence over the row's.

    Raises OperatorError for an unknown row, a GPU that no row is for, or a row that cannot hold.
    """
    check(matrix, wanted)
    if wanted == "auto":
        name = _largest(matrix, gpu, vram_gib)
        needs = matrix.scenarios[name].needs_gib
        reason = f"{name}: {gpu} with {vram_gib:.1f} GiB seen, needs {needs:g}"
    else:
        name, reason = wanted, f"{wanted}: asked for, on {gpu} with {vram_gib:.1f} GiB"
    row = matrix.scenarios[name].flags.over(matrix.common)
    flags, warning = fit_flags(over.over(row) if over else row, vram_gib, gpus)
    return Choice(name, flags, f"{reason}{'; ' + warning if warning else ''}")


def _largest(matrix: Matrix, gpu: str, vram_gib: float) -> str:
    tiers = {name: s.needs_gib for name, s in matrix.scenarios.items() if s.needs_gib is not None}
    met = {name: needs for name, needs in tiers.items() if vram_gib >= needs}
    if not met:
        known = ", ".join(f"{name} (from {needs:g} GiB)" for name, needs in tiers.items())
        raise OperatorError(f"no row of the matrix is for {gpu} with {vram_gib:.1f} GiB: it knows {known}")
    return max(met, key=lambda name: met[name])


def reserve_mib(flags: Flags, gpus: int = 1) -> float:
    """What SGLang keeps free of static memory on each of a server's GPUs (its `server_args.py`), in MiB:
    512 + 1.5 a token of prefill chunk + 1 GiB x tp/8 + 2 a request in a CUDA graph + 8 a prefill graph."""
    chunk = max(flags.chunked_prefill_size or 8192, 2048)
    prefill = 0 if flags.disable_prefill_cuda_graph else 8 * _prefill_graphs(chunk)
    return 512 + 1.5 * chunk + gpus / 8 * MIB_PER_GIB + 2 * (flags.cuda_graph_max_bs or 256) + prefill


def _prefill_graphs(chunk: int) -> int:
    """How many sizes of prefill chunks SGLang makes a CUDA graph for: 38 up to 1,024 tokens, then fewer."""
    return 38 + min(12, (chunk - 1024) // 256) + max(0, (chunk - 4096) // 512)


def _most_static(flags: Flags, vram_gib: float, gpus: int) -> float:
    """The largest share of a GPU's memory that the reserve leaves."""
    return int((1 - reserve_mib(flags, gpus) / MIB_PER_GIB / vram_gib) * 1000) / 1000


def fit_flags(flags: Flags, vram_gib: float, gpus: int = 1) -> tuple[Flags, str | None]:
    """The flags with static memory stepped down to what the reserve leaves, and a warning if it was.

    Raises OperatorError, with the arithmetic, when next to nothing would be left.
    """
    asked = flags.mem_fraction_static
    if asked is None:
        return flags, None
    most = _most_static(flags, vram_gib, gpus)
    if asked <= most:
        return flags, None
    reserved = reserve_mib(flags, gpus) / MIB_PER_GIB
    reason = (
        f"mem_fraction_static {asked:g} leaves {(1 - asked) * vram_gib:.1f} of {vram_gib:.1f} GiB, "
        f"SGLang reserves {reserved:.1f} for a prefill chunk of {flags.chunked_prefill_size} "
        f"and graphs up to {flags.cuda_graph_max_bs}"
    )
    if most < LEAST_STATIC:
        raise OperatorError(f"the row cannot hold: {reason}: take a smaller row")
    return flags.model_copy(update={"mem_fraction_static": most}), f"stepped down to {most:g}, as {reason}"


def step_up(flags: Flags, vram_gib: float, gpus: int) -> Flags | None:
    """The flags after static memory was too little for the weights and a cache: small prefill chunks and graphs,
    and all the static memory that they leave. None where that is no more than before."""
    chunk, graphs = min(flags.chunked_prefill_size or 8192, 2048), min(flags.cuda_graph_max_bs or 256, 8)
    small = flags.model_copy(update={"chunked_prefill_size": chunk, "cuda_graph_max_bs": graphs})
    most = _most_static(small, vram_gib, gpus)
    if most <= (flags.mem_fraction_static or 0.85):
        return None
    return small.model_copy(update={"mem_fraction_static": most})


def step_down(flags: Flags) -> Flags | None:
    """The next rung after running out of memory (the guide's ladder): less static memory, smaller prefill
    chunks, fewer requests. None when the ladder ends."""
    if (flags.mem_fraction_static or 0.85) > 0.75:
        return flags.model_copy(update={"mem_fraction_static": 0.75})
    if (flags.chunked_prefill_size or 8192) > 2048:
        return flags.model_copy(update={"chunked_prefill_size": 2048})
    if (flags.max_running_requests or 64) > 4:
        return flags.model_copy(update={"max_running_requests": 4, "cuda_graph_max_bs": 4})
    return None
