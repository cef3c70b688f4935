"""Exact token counts with the model's own tokenizer and chat template.

Byte-level BPE is counted by tiktoken, thirty times as fast as by `tokenizers` and with the same numbers: tiktoken
joins the pair of the lowest rank, so the order of a tokenizer's merges serves as ranks. A tokenizer is taken over
only if its form is known here and a text of many scripts gives the same tokens. The metadata of a GGUF file is read
by hand: the `gguf` package maps every tensor first, 11 s for a file whose metadata takes 0.3.
"""

import datetime
import json
import mmap
import re
import struct
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, Protocol

import jinja2
import jinja2.ext
import tiktoken
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from extraction.errors import OperatorError
from extraction.prompting.prompt import Message

SCALAR_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def metadata(path: Path) -> dict[str, Any]:
    """Every key and value before the tensors. Raises OperatorError when the file is no GGUF (version 2 up)."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] == b"GGUF":
                return _entries(data)
    except OSError as error:
        raise OperatorError(f"{path} can't be read: {error.strerror}") from None
    except (struct.error, KeyError, ValueError, RecursionError):  # mmap has a ValueError for empty files
        raise OperatorError(f"{path} is cut short or damaged: get the GGUF file anew") from None
    raise OperatorError(f"{path} is not a GGUF file: give --model a .gguf file or the name of a model")


def _entries(data: mmap.mmap) -> dict[str, Any]:
    (count,) = struct.unpack_from("<Q", data, 16)
    values: dict[str, Any] = {}
    offset = 24
    for _ in range(count):
        key, offset = _value(data, STRING, offset)
        (kind,) = struct.unpack_from("<I", data, offset)
        values[key], offset = _value(data, kind, offset + 4)
    return values


def _value(data: mmap.mmap, kind: int, offset: int) -> tuple[Any, int]:
    """The value of a kind at an offset, and the offset behind it."""
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", data, offset)
        end = offset + 8 + length
        if end > len(data):
            raise ValueError("a text runs on behind the end of the file")
        return data[offset + 8 : end].decode("utf-8", errors="replace"), end
    if kind == ARRAY:
        inner, length = struct.unpack_from("<IQ", data, offset)
        offset += 12
        if inner in SCALAR_FORMATS:
            form = f"<{length}{SCALAR_FORMATS[inner]}"
            return struct.unpack_from(form, data, offset), offset + struct.calcsize(form)
        values = []
        for _ in range(length):
            value, offset = _value(data, inner, offset)
            values.append(value)
        return values, offset
    form = "<" + SCALAR_FORMATS[kind]
    return struct.unpack_from(form, data, offset)[0], offset + struct.calcsize(form)


LETTERS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+"
GPT2 = rf"{LETTERS}| ?\p{{N}}+|{REST}|\s+(?!\S)|\s+"
# What GPT2 does to what is left between digits.
DIGIT_PATTERNS = rf"{LETTERS}|\p{{N}}|{REST}|\s+(?=\p{{N}})|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
QWEN = rf"{CONTRACTIONS}|\p{{N}}|{REST}[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = rf"{CONTRACTIONS}|\p{{N}}{{1,3}}|{REST}[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Seams: where no word of a form ever runs on, nor looks across, so that counts of blocks add up.
BEHIND_LINES = re.compile(r"\n(?=\S)")
BEFORE_LINES = re.compile(r"\S(?=\n)")
BEFORE_BLANKS = re.compile(r"\.(?= )")  # a seam of all forms, for lines as long as a book
SEAMS = {GPT2: BEFORE_LINES, DIGIT_PATTERNS: BEFORE_LINES, QWEN: BEHIND_LINES, LLAMA: BEHIND_LINES}
LONG_LINE = 4_000  # characters
LONGEST_PRETOKEN = 100_000  # characters; of ten times as many blanks the regular expression overflows
BLOCKS_KEPT = 1 << 16  # of a line or sentence each: what was counted to split a document, its chunks hold again
LONGEST_KEPT = 300  # characters of a block that is kept, so that those kept are 80 MB at most, mostly 10
CHECK = (
    "Founded in 1987, we'll serve 12,345 CUSTOMERS; it's 3.5% of São Paulo's R$ 1.000.000,00.\r\n\r\n"
    "  indented\tand   spaced \n\n\n株式会社アルダー は家具を作る。 한국어 ไทย हिन्दी\n"
    "Größe Ελλάδα Москва שלום عالم ١٢٣ e\u0301 a\u030a\u0323 \u1e9b\u0323 ½ 10⁶ ǅ I’ll DON'T\n \n 7 \n  8\n"
    "\u00a0\u2003\u200b\u2028\ufeff \U0001f469\u200d\U0001f467 \U0001f1e7\U0001f1f7\n\n\n"
    '{"a": [1, 2], "b": "c\\n"}\n    def f(x):\n\t\treturn x != 0 -> ... --- ***\nhttps://a.example/b?c=d&e=%20#f '
)


class BytePairCounter:
    """Counts the tokens of byte-level BPE as the server will, special tokens among them."""

    exact = True

    def __init__(self, tokenizer: Tokenizer, form: str, ranks: dict[bytes, int], config: Mapping[str, Any]) -> None:
        self._tokenizer, self._seams, self._nfc = tokenizer, SEAMS[form], config["normalizer"] is not None
        self._encoding = tiktoken.Encoding("bytepairs", pat_str=form, mergeable_ranks=ranks, special_tokens={})
        specials = sorted((token["content"] for token in config["added_tokens"]), key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        letters = _byte_of_letter().items()
        self._nameless = bytes(byte for letter, byte in letters if letter not in config["model"]["vocab"])
        self._kept = lru_cache(BLOCKS_KEPT)(self._count_block)

    def count(self, text: str) -> int:
        """Number of tokens in a text, but for a token or two at each LONGEST_PRETOKEN of a block without a seam."""
        plain = self._specials.split(text)
        return len(plain) - 1 + sum(map(self._count_plain, plain))

    def _count_plain(self, text: str) -> int:
        if self._nfc and not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        total = 0
        for line in _cut(text, self._seams):
            blocks = _cut(line, BEFORE_BLANKS) if len(line) > LONG_LINE else [line]
            total += sum(map(self._count, blocks))
        return total

    def _count(self, block: str) -> int:
        if len(block) <= LONGEST_KEPT:
            return self._kept(block)
        starts = range(0, len(block), LONGEST_PRETOKEN)
        return sum(self._count_block(block[start : start + LONGEST_PRETOKEN]) for start in starts)

    def _count_block(self, block: str) -> int:
        if self._nameless:  # small vocabularies leave out bytes that are rare, and tokenizers skip those
            raw = block.encode("utf-8", errors="replace")
            if len(raw.translate(None, self._nameless)) < len(raw):
                return len(self._tokenizer.encode(block, add_special_tokens=False).ids)
        return len(self._encoding.encode_ordinary(block))


def _cut(text: str, seams: re.Pattern[str]) -> list[str]:
    bounds = [0, *(seam.end() for seam in seams.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def byte_pair_counter(tokenizer: Tokenizer) -> BytePairCounter | None:
    """A fast counter that agrees with a tokenizer; None where its form is not one of those known."""
    config = json.loads(tokenizer.to_str())
    form, ranks = _form(config["pre_tokenizer"]), _ranks(config["model"])
    if form is None or ranks is None or config["normalizer"] not in (None, {"type": "NFC"}):
        return None
    added = config["added_tokens"]
    if any(token["lstrip"] or token["rstrip"] or token["single_word"] for token in added):
        return None
    counter = BytePairCounter(tokenizer, form, ranks, config)
    whole = CHECK + "".join(f"{token['content']}a {token['content']}\n" for token in added[:32])
    texts = [whole, *whole.splitlines(keepends=True)]
    same = all(counter.count(text) == len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    return counter if same else None


def _form(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """The regular expression that cuts a text into words, if the pre-tokenizer is of a known form."""
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return GPT2
        case {
            "type": "Sequence",
            "pretokenizers": [first, {"type": "ByteLevel", "add_prefix_space": False} as last],
        }:
            pass
        case _:
            return None
    match first:
        case {"type": "Digits", "individual_digits": True} if last["use_regex"]:
            return DIGIT_PATTERNS
        case {"type": "Split", "pattern": {"Regex": form}, "behavior": "Isolated", "invert": False}:
            return form if form in SEAMS and not last["use_regex"] else None
    return None


def _ranks(model: Mapping[str, Any]) -> dict[bytes, int] | None:
    """The rank of every token's bytes: first the 256 bytes, then the merges in their order."""
    plain = {"dropout": None, "byte_fallback": False, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    if model["type"] != "BPE" or any((model[key] or value) != value for key, value in plain.items()):
        return None
    letters = _byte_of_letter()
    ranks = {bytes([byte]): byte for byte in range(256)}
    try:
        for left, right in model["merges"]:
            ranks.setdefault(bytes(letters[letter] for letter in left + right), len(ranks))
    except KeyError:  # a vocabulary of characters, not of bytes
        return None
    return ranks


def _byte_of_letter() -> dict[str, int]:
    """The letter that byte-level BPE writes for each byte: itself where it is printable, else one from 256 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


NORMAL, CONTROL_TOKEN, USER_DEFINED = 1, 3, 4  # token types of a GGUF vocabulary
BYTES_PER_TOKEN = 3  # below the 3.5 to 4.5 of prose in European languages, so an estimate errs on the safe side
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"  # as text, the last line break of a template would be lost
)


BYTE_LEVEL = "gpt2"  # as GGUF files name it
SPLIT_ALIKE = ("smollm",)  # their files split words as `tokenizer_of` does; others nearly so


class TokenCounter(Protocol):
    """Counts the tokens of a text as the server will."""

    exact: bool

    def count(self, text: str) -> int:
        """Number of tokens; a special token that is written out in the text is one."""
        ...


class VocabularyCounter:
    """Counts with a tokenizer of the `tokenizers` library."""

    def __init__(self, tokenizer: Tokenizer, *, exact: bool = True) -> None:
        self.tokenizer, self.exact = tokenizer, exact

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
def load_counter(source: str | None) -> TokenCounter:
    """The counter of a GGUF file, a tokenizer.json or a folder that holds one; an estimate without a source."""
    if source is None:
        return ByteCounter()
    path = Path(source)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise OperatorError(f"no tokenizer at {path}: set model.tokenizer to a tokenizer.json or a GGUF file")
    if path.suffix == ".gguf":
        entries = metadata(path)
        tokenizer = tokenizer_of(entries, path)
        known = entries["tokenizer.ggml.model"] != BYTE_LEVEL or entries.get("tokenizer.ggml.pre") in SPLIT_ALIKE
        return _fastest(tokenizer) if known else VocabularyCounter(tokenizer, exact=False)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise OperatorError(f"{path} is no tokenizer.json: {error}") from None
    return _fastest(tokenizer)


def _fastest(tokenizer: Tokenizer) -> TokenCounter:
    return byte_pair_counter(tokenizer) or VocabularyCounter(tokenizer)


def tokenizer_of(metadata: Mapping[str, Any], path: Path) -> Tokenizer:
    """The tokenizer that llama.cpp uses for the same file (compared on real documents in the tests)."""
    if "tokenizer.ggml.tokens" not in metadata:
        raise OperatorError(f"{path} holds no tokenizer: give the GGUF file of a whole model")
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    kinds: Sequence[int] = metadata["tokenizer.ggml.token_type"]
    vocabulary = {word: number for number, word in enumerate(words)}
    if metadata["tokenizer.ggml.model"] == BYTE_LEVEL:
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
    added = {USER_DEFINED: tokenizer.add_tokens, CONTROL_TOKEN: tokenizer.add_special_tokens}
    for kind, add in added.items():
        add([AddedToken(word, normalized=False) for word, its in zip(words, kinds, strict=True) if its == kind])
    return tokenizer


def _sentencepiece_merges(
    vocabulary: Mapping[str, int], kinds: Sequence[int], scores: Sequence[float]
) -> list[tuple[str, str]]:
    """Every split of a token into two others, in the order in which SentencePiece joins them: by score."""
    merges: list[tuple[float, int, int, str, str]] = []
    for word, number in vocabulary.items():
        if kinds[number] != NORMAL:
            continue
        for cut in range(1, len(word)):
            left, right = vocabulary.get(word[:cut]), vocabulary.get(word[cut:])
            if left is not None and right is not None:
                merges.append((-scores[number], left, right, word[:cut], word[cut:]))
    merges.sort(key=lambda merge: merge[0])
    return [(left, right) for *_, left, right in merges]


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks in some templates what the model writes: it is passed through."""

    tags = {"generation"}  # noqa: RUF012 as jinja2 has it

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """What stands within the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


@lru_cache(maxsize=8)
def _template(source: str) -> jinja2.Template:
    """A template with the tags and functions that Hugging Face's library gives it."""
    extensions = ("jinja2.ext.loopcontrols", GenerationTag)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.globals |= {"raise_exception": _refuse, "strftime_now": datetime.datetime.now().strftime}
    return environment.from_string(source)


def render_chat(template: str | None, messages: Sequence[Message]) -> str:
    """The prompt that a server makes of messages; ChatML (Qwen's form) where no template is known."""
    try:
        return _template(template or CHATML).render(messages=messages, add_generation_prompt=True)
    # A template's own arithmetic can fail too, and the sandbox refuses with an OverflowError.
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise OperatorError(f"the model's chat template can't be rendered: {error}") from error
