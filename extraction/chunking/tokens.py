"""Exact token counts, with the model's own tokenizer and chat template."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from extraction.chunking import gguf
from extraction.chunking.bytepairs import byte_pair_counter
from extraction.errors import OperatorError

Message = Mapping[str, str]
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # token types of a GGUF vocabulary
BYTES_PER_TOKEN = 3  # below the 3.5 to 4.5 of prose in European languages, so an estimate errs on the safe side
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"  # as text, the last line break of a template would be lost
)


class Counter(Protocol):
    """Counts the tokens of a text as the server will."""

    exact: bool

    def count(self, text: str) -> int:
        """Number of tokens; a special token that is written out in the text is one."""
        ...


class VocabularyCounter:
    """Counts with a tokenizer of the `tokenizers` library."""

    exact = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def count(self, text: str) -> int:
        """Number of tokens in a text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


class ByteCounter:
    """Estimates from the length in UTF-8, where the model's tokenizer is out of reach (remote endpoints)."""

    exact = False

    def count(self, text: str) -> int:
        """A number that prose stays under, see BYTES_PER_TOKEN."""
        return -(-len(text.encode("utf-8", errors="replace")) // BYTES_PER_TOKEN)


@lru_cache(maxsize=4)
def load_counter(source: str | None) -> Counter:
    """The counter of a GGUF file, a tokenizer.json or a folder that holds one; an estimate without a source."""
    if source is None:
        return ByteCounter()
    path = Path(source)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise OperatorError(f"no tokenizer at {path}: set model.tokenizer to a tokenizer.json or a GGUF file")
    if path.suffix == ".gguf":
        return _fastest(tokenizer_of(gguf.metadata(path), path))
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise OperatorError(f"{path} is no tokenizer.json: {error}") from None
    return _fastest(tokenizer)


def _fastest(tokenizer: Tokenizer) -> Counter:
    return byte_pair_counter(tokenizer) or VocabularyCounter(tokenizer)


def tokenizer_of(metadata: Mapping[str, Any], path: Path) -> Tokenizer:
    """The tokenizer that llama.cpp uses for the same file (compared on real documents in the tests)."""
    if "tokenizer.ggml.tokens" not in metadata:
        raise OperatorError(f"{path} holds no tokenizer: give the GGUF file of a whole model")
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    kinds: Sequence[int] = metadata["tokenizer.ggml.token_type"]
    vocabulary = {word: number for number, word in enumerate(words)}
    if metadata["tokenizer.ggml.model"] == "gpt2":
        merges = [tuple(pair.split(" ")) for pair in metadata["tokenizer.ggml.merges"]]
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    else:
        merges = _sentencepiece_merges(vocabulary, kinds, metadata["tokenizer.ggml.scores"])
        unknown = words[metadata["tokenizer.ggml.unknown_token_id"]]
        tokenizer = Tokenizer(
            models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token=unknown)
        )
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # Found in the text as it is, like llama.cpp does: three spaces are one token, "▁" between two is not.
    added = {USER_DEFINED: tokenizer.add_tokens, CONTROL: tokenizer.add_special_tokens}
    for kind, add in added.items():
        add([AddedToken(word, normalized=False) for word, its in zip(words, kinds, strict=True) if its == kind])
    return tokenizer


def _sentencepiece_merges(
    vocabulary: Mapping[str, int], kinds: Sequence[int], scores: Sequence[float]
) -> list[tuple[str, str]]:
    """Every split of a token into two others, in the order in which SentencePiece joins them: by score."""
    found: list[tuple[float, int, int, str, str]] = []
    for word, number in vocabulary.items():
        if kinds[number] != NORMAL:
            continue
        for cut in range(1, len(word)):
            left, right = vocabulary.get(word[:cut]), vocabulary.get(word[cut:])
            if left is not None and right is not None:
                found.append((-scores[number], left, right, word[:cut], word[cut:]))
    found.sort(key=lambda merge: merge[0])
    return [(left, right) for *_, left, right in found]


@lru_cache(maxsize=8)
def _template(source: str) -> jinja2.Template:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)


def render(template: str | None, messages: Sequence[Message]) -> str:
    """The prompt that a server makes of messages; ChatML (Qwen's form) where no template is known."""
    try:
        return _template(template or CHATML).render(messages=messages, add_generation_prompt=True)
    # A template's own arithmetic can fail too, and the sandbox refuses with an OverflowError.
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise OperatorError(f"the model's chat template can't be rendered: {error}") from error
