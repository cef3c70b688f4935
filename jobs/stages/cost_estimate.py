"""What requests cost: tokens, hours of GPUs, money. And what a run would cost, before anything is asked."""

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from extraction.config.settings import Price
from jobs.stages.run import Run
from jobs.state.manifest import read_manifest
from jobs.state.run_record import read_run
from jobs.state.storage import StoredRecord


class Spent(StoredRecord):
    """What was spent. `requests` holds repeated ones, `prompt_tokens` the cached ones, `gpu_hours` are those from
    the start of servers to their end."""

    requests: Annotated[int, Field(ge=0)] = 0
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    cached_tokens: Annotated[int, Field(ge=0)] = 0
    output_tokens: Annotated[int, Field(ge=0)] = 0
    gpu_hours: Annotated[float, Field(ge=0)] = 0
    money: Annotated[float, Field(ge=0)] = 0

    @classmethod
    def on(cls, results: pa.Table, gpu_hours: float, price: Price) -> "Spent":
        """What a table of RESULTS cost."""
        columns = ("attempts", "prompt_tokens", "cached_tokens", "completion_tokens")
        requests, prompt, cached, output = (pc.sum(results[name]).as_py() or 0 for name in columns)
        return cls(
            requests=requests,
            prompt_tokens=prompt,
            cached_tokens=cached,
            output_tokens=output,
            gpu_hours=gpu_hours,
            money=price.of(gpu_hours=gpu_hours, prompt_tokens=prompt, output_tokens=output),
        )

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in Spent.model_fields})

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True)
class Rates:
    """What a request takes: `chunks_per_s` of one GPU, None where unknown, `output_tokens` an answer; `text` says
    where each figure comes from."""

    chunks_per_s: float | None
    output_tokens: float
    price: Price
    text: str

    @classmethod
    def of(cls, run: Run, before: Spent, given: float | None) -> "Rates":
        """As given, or as in runs so far; of answers otherwise the longest that they may be."""
        output, of_output = float(run.settings.limits.max_output_tokens), "at most, no run has shown it yet"
        if before.requests:
            output, of_output = before.output_tokens / before.requests, "as runs so far showed"
        rate, of_rate = given, "as given"
        if rate is None and before.gpu_hours:
            rate, of_rate = before.requests / before.gpu_hours / 3600, "as runs so far showed"
        text = f"{output:,.0f} output tokens an answer ({of_output})"
        if run.fleet.gpus:
            speed = f"{rate:.2f} chunks/s of a GPU ({of_rate})" if rate else "GPU-hours need --chunks-per-s"
            text = f"{speed}, {text}"
        return cls(rate if run.fleet.gpus else None, output, run.settings.price, text)

    def cost_of(self, requests: int, prompt_tokens: int) -> Spent:
        """What some requests would cost."""
        output = round(requests * self.output_tokens)
        hours = requests / self.chunks_per_s / 3600 if self.chunks_per_s else 0
        return Spent(
            requests=requests,
            prompt_tokens=prompt_tokens,
            output_tokens=output,
            gpu_hours=hours,
            money=self.price.of(gpu_hours=hours, prompt_tokens=prompt_tokens, output_tokens=output),
        )

    def hours_and_money(self, cost: Spent) -> tuple[str, str]:
        """GPU-hours and money in figures; a dash for what is not known."""
        hours = f"{cost.gpu_hours:,.2f}" if self.chunks_per_s else "-"
        known = self.price.known and (self.chunks_per_s or not self.price.gpu_hour)
        return hours, f"{cost.money:,.2f} {self.price.currency}" if known else "-"


def spent_by_published(run: Run) -> Spent:
    """What the published run of the output spent; nothing where it was another model's or prompt's."""
    published = read_manifest(run.storage)
    if published is None or published.fingerprint != run.fingerprint:
        return Spent()
    record, counts = read_run(run.storage, published.run_id), published.counts
    return Spent(
        requests=counts.chunks_answered - counts.chunks_from_ledger,
        prompt_tokens=published.tokens.prompt,
        cached_tokens=published.tokens.cached,
        output_tokens=published.tokens.completion,
        gpu_hours=(record.server_hours or 0) * record.gpus if record else 0,
    )
