"""A completion: what a reply's JSON says, whatever the server made of it."""

from dataclasses import dataclass
from typing import Any

from extraction.prompting.logprobs import Token, token_pairs

MOST_TOKENS = 1 << 40  # that anybody counts: sums still fit the ledger's columns


@dataclass(frozen=True, slots=True)
class Completion:
    """The text of the first choice, why it ended, and the tokens that it took. Nonsense counts as nothing.

    `logprobs` are the text's tokens with their log-probabilities; none where the server gives none.
    """

    text: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    logprobs: tuple[Token, ...] = ()

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Completion":
        """What a body of any shape says."""
        try:
            choice = body["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
        except (KeyError, IndexError, TypeError):
            choice = text = reason = None
        usage = _dict(body.get("usage"))
        return cls(
            text=text if isinstance(text, str) else "",
            finish_reason=reason if isinstance(reason, str) else None,
            prompt_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=_count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            logprobs=tuple(token_pairs(_dict(_dict(choice).get("logprobs")).get("content"))),
        )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_TOKENS else 0
