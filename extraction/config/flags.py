"""The flags of an SGLang server: an allow-list, spelled so that all its versions take them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from extraction.config.frozen import Count, Frozen


class Flags(Frozen):
    """The flags that a row may set, as SGLang 0.5 names them. There are no others: not the host, no keys,
    nothing that loads code."""

    context_length: Count | None = None
    chunked_prefill_size: Count | None = None
    max_prefill_tokens: Count | None = None
    mem_fraction_static: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_running_requests: Count | None = None
    cuda_graph_max_bs: Count | None = None
    grammar_backend: Literal["xgrammar", "outlines", "llguidance", "none"] | None = None
    constrained_json_disable_any_whitespace: bool | None = None
    schedule_policy: Literal["fcfs", "lpm", "random"] | None = None
    disable_prefill_cuda_graph: bool | None = None
    disable_radix_cache: bool | None = None
    enable_mixed_chunk: bool | None = None
    attention_backend: Literal["fa3", "flashinfer", "triton", "torch_native"] | None = None
    sampling_backend: Literal["flashinfer", "pytorch"] | None = None
    quantization: Literal["fp8"] | None = None
    kv_cache_dtype: Literal["auto", "fp8_e4m3", "fp8_e5m2"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None

    def over(self, other: "Flags") -> "Flags":
        """These flags, with the other's where these say nothing."""
        return Flags(**{**other.said(), **self.said()})

    def said(self) -> dict[str, Any]:
        """The flags that are set."""
        return self.model_dump(exclude_none=True)

    def arguments(self) -> dict[str, Any]:
        """Names and values as SGLang 0.5.17 to 0.5.23 take them.

        `--cuda-graph-max-bs` is ambiguous in 0.5.23, the longer name is known to both; a flag that is
        false is left out.
        """
        names = {"cuda_graph_max_bs": "cuda-graph-max-bs-decode"}
        said = {names.get(key, key.replace("_", "-")): value for key, value in self.said().items()}
        return {key: value for key, value in said.items() if value is not False}
