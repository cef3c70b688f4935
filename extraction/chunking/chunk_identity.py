"""The fingerprint of a run: a digest of everything that changes an answer, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from extraction.config.settings import Settings
from extraction.prompting.response_schema import judging_schema

PARSER_VERSION = 4  # raise it when the same reply would be judged otherwise


def fingerprint(
    settings: Settings,
    model: type[BaseModel],
    schema: dict[str, Any],
    *,
    served: str,
    weights: str | None = None,
    template: str | None = None,
    precision: Mapping[str, str] | None = None,
) -> str:
    """64 hex digits from the model, prompt, wire schema, profile model, sampling, limits and parser version.

    `served` is the name that servers know the model by, `weights` a digest of local files,
    `template` the chat template, `precision` what the server rounds weights and KV cache to, if told to (so
    that ledgers of servers that aren't told are as they were). Paths, ports, GPU types and concurrency stay
    out: an answer found on one machine holds on another. So do `requests.attempts`, how often a chunk is halved and
    `limits.context_length`: they decide whether a chunk is answered, not what it is asked.
    """
    told = {
        "model": served,
        "revision": settings.model.revision,
        "weights": weights,
        "template": template,
        "messages": settings.prompt.messages(model, ""),
        "schema": schema,
        "judged_by": judging_schema(model),
        "sampling": settings.sampling.model_dump(),
        "limits": settings.limits.model_dump(
            include={"max_chunk_tokens", "system_prompt_overhead", "max_output_tokens"}
        ),
        "parser": PARSER_VERSION,
    }
    if precision:
        told["precision"] = dict(precision)
    canonical = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", errors="surrogatepass")).hexdigest()
