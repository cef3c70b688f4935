"""What a question has taken so far, and what has died under it."""

from dataclasses import dataclass
from typing import Literal

from actors.completion import Completion

UnderWay = Literal["", "in company", "alone"]


@dataclass(slots=True)
class Effort:
    """The cost of a question over all its parts and attempts.

    `deaths` is how often the server, or the actor with it, died while it worked on the question, `deaths_alone` on
    it alone; `under_way` is how it is being asked now.
    """

    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_flight: int = 0
    truncated: int = 0
    looped: int = 0
    deaths: int = 0
    deaths_alone: int = 0
    under_way: UnderWay = ""

    def add(self, completion: Completion, in_flight: int) -> None:
        """Count one more reply."""
        self.prompt_tokens += completion.prompt_tokens
        self.cached_tokens += completion.cached_tokens
        self.completion_tokens += completion.completion_tokens
        self.in_flight = in_flight
