"""The fast counter of byte-level BPE says what `tokenizers` says, or is not used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from actors.servers.llamacpp import local_model
from extraction.chunking import tokenizers
from extraction.chunking.tokenizers import (
    LLAMA,
    LONGEST_BLOCK,
    LONGEST_KEPT,
    QWEN,
    BytePairCounter,
    byte_pair_counter,
    tokenizer_of,
)

DOCUMENTS = Path(__file__).resolve().parents[3] / "configs" / "demo" / "documents"
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|im_end|>!", "<tool>"]


def split(form: str) -> Any:
    words = pre_tokenizers.Split(Regex(form), behavior="isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def digits() -> Any:
    one_by_one = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([one_by_one, pre_tokenizers.ByteLevel(add_prefix_space=False)])


FORMS: dict[str, Callable[[], Any]] = {
    "qwen": lambda: split(QWEN),
    "llama": lambda: split(LLAMA),
    "gpt2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "digits": digits,
}


def trained(form: Any, nfc: bool = True) -> Tokenizer:
    """A small vocabulary from the demo's documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = form, decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1_500, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    tokenizer.train([str(path) for path in sorted(DOCUMENTS.glob("*.md"))], trainer)
    return tokenizer


@pytest.fixture(scope="module", params=FORMS)
def both(request: pytest.FixtureRequest) -> tuple[Tokenizer, BytePairCounter]:
    tokenizer = trained(FORMS[request.param](), nfc=request.param != "gpt2")
    counter = byte_pair_counter(tokenizer)
    assert counter is not None
    return tokenizer, counter


def slow_count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


parts = st.sampled_from(
    [
        *(
            " ",
            "  ",
            "\n",
            "\n\n",
            "\r\n",
            "\t",
            "\u00a0",
            "\u2028",
            "\x85",
            "\x1c",
            ". ",
            ".\n",
            "'s",
            "'LL",
            "!?",
        ),
        *(
            "The",
            "company",
            "São",
            "Região",
            "1987",
            "²",
            "漢字",
            "かな",
            "\U0001f600",
            "\u200d",
            "e\u0301",
            "\u0301",
        ),
        *("x" * 40, "/\n", "{}\n\n", "…", "#", *SPECIALS),
    ]
)
texts = st.lists(parts | st.text(max_size=4), max_size=60).map("".join)


@given(text=texts)
def test_any_text_has_the_count_of_the_tokenizer(both: tuple[Tokenizer, BytePairCounter], text: str) -> None:
    tokenizer, counter = both
    assert counter.count(text) == slow_count(tokenizer, text)


def test_long_lines_are_counted_alike(both: tuple[Tokenizer, BytePairCounter]) -> None:
    tokenizer, counter = both
    line = " ".join(" ".join(path.read_text("utf-8").split()) for path in sorted(DOCUMENTS.glob("*.md")))
    assert len(line) > 20_000
    assert counter.count(line) == slow_count(tokenizer, line)


@pytest.mark.parametrize("blank", [" ", "\n", " \n\t"])
def test_a_block_of_any_length_is_counted(both: tuple[Tokenizer, BytePairCounter], blank: str) -> None:
    tokenizer, counter = both
    text = "x" + blank * (1_100_000 // len(blank)) + "y"
    assert abs(counter.count(text) - slow_count(tokenizer, text)) <= len(text) / LONGEST_BLOCK


def test_long_blocks_are_not_kept(both: tuple[Tokenizer, BytePairCounter]) -> None:
    _, counter = both
    kept = counter._kept.cache_info().currsize
    counter.count("Ana" * LONGEST_KEPT)
    assert counter._kept.cache_info().currsize == kept
    counter.count("A line of this test alone")
    assert counter._kept.cache_info().currsize == kept + 1


@given(text=texts)
def test_a_packaged_model_s_count_is_that_of_its_tokenizer(text: str) -> None:
    tokenizer, counter = smollm()
    assert counter.count(text) == slow_count(tokenizer, text)


def test_real_documents_have_the_count_of_the_tokenizer(data: Path) -> None:
    tokenizer, counter = smollm()
    for name in ("company_summaries", "current_reports", "hairy"):
        for text in pq.read_table(data / f"{name}.parquet", columns=["text"])["text"].to_pylist()[:25]:
            assert counter.count(text[:60_000]) == slow_count(tokenizer, text[:60_000])


KEPT: list[tuple[Tokenizer, BytePairCounter]] = []


def smollm() -> tuple[Tokenizer, BytePairCounter]:
    if not KEPT:
        path = local_model("smollm2-135m-instruct").path
        tokenizer = tokenizer_of(tokenizers.metadata(path), path)
        counter = byte_pair_counter(tokenizer)
        assert counter is not None
        KEPT.append((tokenizer, counter))
    return KEPT[0]


def with_normalizer() -> Tokenizer:
    tokenizer = trained(FORMS["gpt2"](), nfc=False)
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def with_greedy_token() -> Tokenizer:
    tokenizer = trained(FORMS["gpt2"]())
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return tokenizer


def of_characters() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "語": 1, "a語": 2}, merges=[("a", "語")]))
    tokenizer.pre_tokenizer = FORMS["gpt2"]()
    return tokenizer


def with_a_token_that_its_merges_never_reach() -> Tokenizer:
    """`Fou` is made of `Fo` and `u`, but `o` and `u` are joined first."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ou", "Fou", "Fo"]
    merges = [("o", "u"), ("Fo", "u"), ("F", "o")]
    tokenizer = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = FORMS["gpt2"]()
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
        lambda: trained(split(r"\S+|\s+")),
        lambda: trained(pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda: trained(pre_tokenizers.Metaspace()),
        with_normalizer,
        with_greedy_token,
        of_characters,
        with_a_token_that_its_merges_never_reach,
    ],
)
def test_what_is_not_known_or_not_the_same_is_not_taken_over(tokenizer: Callable[[], Tokenizer]) -> None:
    assert byte_pair_counter(tokenizer()) is None
