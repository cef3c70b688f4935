"""Parses a chat request and makes its deterministic completion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.schema_filler import BadRequest, Filler, Schema

TOKEN = 4  # characters


@dataclass(frozen=True)
class ChatRequest:
    """One chat request."""

    model: str
    text: str
    earlier_words: int
    prompt_words: int
    schema: Schema | None
    stream: bool
    include_usage: bool
    logprobs: bool = False

    @classmethod
    def parse(cls, body: Any) -> ChatRequest:
        """The request read from its JSON body, or BadRequest."""
        try:
            texts = [(m["role"], m["content"] or "") for m in body["messages"]]
            last = max(i for i, (role, _) in enumerate(texts) if role == "user")
        except (TypeError, KeyError, ValueError, AttributeError):
            raise BadRequest("messages: a list with at least one user message is required") from None
        words = [len(text.split()) for _, text in texts]
        options = body.get("stream_options") or {}
        return cls(
            model=str(body.get("model", "default")),
            text=texts[last][1],
            earlier_words=sum(words[:last]),
            prompt_words=sum(words),
            schema=schema_of(body.get("response_format")),
            stream=bool(body.get("stream")),
            include_usage=bool(options.get("include_usage")),
            logprobs=bool(body.get("logprobs")),
        )

    def content(self, text: str) -> str:
        """A valid completion: JSON for the schema from the text, else `ok`."""
        if self.schema is None:
            return "ok"
        return json.dumps(Filler(text).value(self.schema), ensure_ascii=False)


def schema_of(response_format: Any) -> Schema | None:
    """The schema of the response format, if there is one."""
    if response_format is None:
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    if response_format["type"] != "json_schema" or not isinstance(schema, dict):
        raise BadRequest("schema_ is required for json_schema response format request.")
    return schema


@dataclass(frozen=True)
class Completion:
    """One completion, and the bytes that carry it."""

    chat: ChatRequest
    number: int
    content: str
    finish: str = "stop"

    def spoiled(self, content: str, finish: str) -> Completion:
        """The same completion with other content."""
        return replace(self, content=content, finish=finish)

    def pieces(self) -> list[bytes]:
        """The body: server-sent events when streaming was asked for, else one JSON text."""
        return list(self._events()) if self.chat.stream else [json.dumps(self._whole()).encode()]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"fake-{self.number}", "object": kind, "created": 0, "model": self.chat.model}

    def _usage(self) -> dict[str, Any]:
        prompt, output = self.chat.prompt_words, max(1, len(self.content.split()))
        cached = self.chat.earlier_words if self.number > 1 else 0
        details = {"cached_tokens": cached} if cached else None  # SGLang leaves a zero out too
        total = prompt + output
        counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": total}
        return {**counts, "prompt_tokens_details": details}

    def _whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.content, "tool_calls": None}
        choice = {"index": 0, "message": message, "logprobs": self._logprobs(), "finish_reason": self.finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def _logprobs(self) -> dict[str, Any] | None:
        """A log-probability for every few characters, if they were asked for: the later, the less sure."""
        if not self.chat.logprobs:
            return None
        cuts = range(0, len(self.content), TOKEN)
        tokens = [{"token": self.content[at : at + TOKEN], "logprob": -at / 10_000} for at in cuts]
        return {"content": [{**token, "bytes": None, "top_logprobs": []} for token in tokens]}

    def _events(self) -> Iterator[bytes]:
        head = self._head("chat.completion.chunk")
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": self.content[i : i + 8]} for i in range(0, len(self.content), 8)]
        for delta in deltas:
            yield event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
        if self.chat.include_usage:
            yield event({**head, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"
