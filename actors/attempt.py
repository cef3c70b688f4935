"""An attempt: how a question is asked this time, and how the next time after a bad reply."""

from dataclasses import dataclass, replace
from typing import Self

from extraction.config.settings import Sampling
from extraction.errors import Fault


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a request says besides its messages. `max_tokens` bounds the answer."""

    temperature: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int
    seed: int

    @classmethod
    def first(cls, drawn: Sampling, max_tokens: int) -> Self:
        """As the settings have it."""
        return cls(
            temperature=drawn.temperature,
            frequency_penalty=drawn.frequency_penalty,
            presence_penalty=drawn.presence_penalty,
            max_tokens=max_tokens,
            seed=drawn.seed,
        )

    def after(self, fault: Fault, drawn: Sampling, room: int) -> Self | None:
        """The attempt that follows a fault, with one thing changed; None where asking again does not help.

        `room` is the number of tokens that an answer can have in the model's context.
        """
        if fault.retryable:
            return self
        if fault in (Fault.INVALID, Fault.REPETITION):
            return replace(
                self,
                temperature=drawn.retry_temperature,
                frequency_penalty=drawn.retry_frequency_penalty,
                seed=self.seed + 1,
            )
        more = min(2 * self.max_tokens, room)
        if fault is Fault.TRUNCATED and more > self.max_tokens:
            return replace(self, max_tokens=more)
        return None
