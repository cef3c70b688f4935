"""The fast counter of byte-level BPE says what `tokenizers` says, or is not used."""

import mmap
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
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
    LONGEST_KEPT,
    LONGEST_PRETOKEN,
    QWEN,
    ByteCounter,
    BytePairCounter,
    TokenCounter,
    byte_pair_counter,
    load_counter,
    metadata,
    render_chat,
    tokenizer_of,
)
from extraction.errors import OperatorError

DOCUMENTS = Path(__file__).resolve().parents[3] / "configs" / "demo" / "documents"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def counter_of(name: str) -> TokenCounter:
    return load_counter(str(local_model(name).path))


@pytest.fixture(scope="module", params=["gemma-3-270m", "smollm2-135m-instruct"])
def counter(request: pytest.FixtureRequest) -> TokenCounter:
    return counter_of(request.param)


def test_counts_are_sane(counter: TokenCounter) -> None:
    assert counter.exact
    assert counter.count("") == 0
    assert counter.count("Hello world") == 2
    assert counter.count("1987") == 4
    line = "The company makes tiles.\n"
    assert counter.count(line * 200) == 200 * counter.count(line)


@pytest.mark.parametrize(
    ("name", "own", "foreign"),
    [
        ("gemma-3-270m", "<start_of_turn>", "<|im_start|>"),
        ("smollm2-135m-instruct", "<|im_start|>", "<start_of_turn>"),
    ],
)
def test_the_model_s_own_special_tokens_are_one_each(name: str, own: str, foreign: str) -> None:
    count = counter_of(name).count
    assert count(own) == 1
    assert count(f"{own}a{own}") == 2 + count("a")
    assert count(foreign) > 3


@given(text=st.text())
def test_any_text_has_a_count(counter: TokenCounter, text: str) -> None:
    assert bool(counter.count(text)) == bool(text)
    assert counter.count(text) <= len(text.encode())


def test_counters_are_loaded_once() -> None:
    assert counter_of("gemma-3-270m") is counter_of("gemma-3-270m")
    assert isinstance(load_counter(None), ByteCounter)


def test_a_saved_tokenizer_is_read_from_its_file_or_folder(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"Serra": 0, "Alta": 1, "[?]": 2}, unk_token="[?]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_counter(str(source)).count("Serra Alta Cerâmica") == 3


def test_byte_level_vocabularies_are_counted_the_fast_way() -> None:
    assert isinstance(counter_of("smollm2-135m-instruct"), BytePairCounter)
    assert not isinstance(counter_of("gemma-3-270m"), BytePairCounter)


def test_a_source_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"no tokenizer at .*set model\.tokenizer"):
        load_counter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(OperatorError, match=r"tokenizer\.json is no tokenizer\.json: "):
        load_counter(str(tmp_path))
    (tmp_path / "lora.gguf").write_bytes(file_of({"general.type": (tokenizers.STRING, "adapter")}))
    with pytest.raises(OperatorError, match="holds no tokenizer: give the GGUF file of a whole model"):
        load_counter(str(tmp_path / "lora.gguf"))


def test_an_estimate_is_not_below_the_count_of_prose(counter: TokenCounter) -> None:
    estimate = ByteCounter()
    assert not estimate.exact
    documents = [path.read_text("utf-8") for path in sorted(DOCUMENTS.glob("*.md"))]
    prose = [text for text in documents if text.isascii() and len(text) > 200]
    assert len(prose) > 3
    for text in prose:
        assert counter.count(text) <= estimate.count(text) <= 2 * counter.count(text)


@given(st.text(), st.text())
def test_an_estimate_is_a_third_of_the_bytes_rounded_up(one: str, other: str) -> None:
    count = ByteCounter().count
    assert 3 * count(one) - 2 <= len(one.encode()) <= 3 * count(one)
    assert count(one + other) <= count(one) + count(other)
    assert count("\ud800") == 1


def test_without_a_template_turns_are_chatml() -> None:
    assert render_chat(None, MESSAGES) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_given_template_is_used() -> None:
    assert render_chat("{% for m in messages %}[{{ m['role'] }}] {{ m.content }}{% endfor %}", MESSAGES) == (
        "[system] Be brief.[user] Hello"
    )
    assert render_chat("{{ add_generation_prompt }}", MESSAGES) == "True"


def test_a_byte_level_file_that_splits_words_in_another_way_is_counted_about(tmp_path: Path) -> None:
    model = local_model("smollm2-135m-instruct").path
    assert load_counter(str(model)).exact
    other, name = tmp_path / "other.gguf", b"smollm"
    shutil.copy(model, other)
    with other.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        at = data.find(name, data.find(b"tokenizer.ggml.pre"))
        data[at : at + len(name)] = b"dbrx-x"
    assert metadata(other)["tokenizer.ggml.pre"] == "dbrx-x"
    counter = load_counter(str(other))
    assert not counter.exact and counter.count("Kettles of 1987") > 3


def test_a_template_has_the_tags_and_functions_of_hugging_face() -> None:
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    assert render_chat(source, MESSAGES) == "Be brief."
    assert render_chat("{{ strftime_now('%Y') }}", MESSAGES).isdecimal()
    with pytest.raises(OperatorError, match="roles must alternate"):
        render_chat("{{ raise_exception('roles must alternate') }}", MESSAGES)


def test_the_packaged_templates_hold_every_message() -> None:
    for name in ("gemma-3-270m", "smollm2-135m-instruct"):
        assert all(m["content"] in render_chat(local_model(name).template, MESSAGES) for m in MESSAGES)


@pytest.mark.parametrize(
    "template",
    [
        "{% for %}",
        "{{ messages",
        "{{ messages[9].content }}",
        "{{ messages | shout }}",
        "{{ raise_exception('no system role') }}",
        "{{ 1 + 'a' }}",
        "{{ 1 / 0 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ messages.__class__.__mro__ }}",
    ],
)
def test_a_broken_template_is_the_operator_s_mistake(template: str) -> None:
    with pytest.raises(OperatorError, match="the model's chat template can't be rendered: "):
        render_chat(template, MESSAGES)


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
    assert abs(counter.count(text) - slow_count(tokenizer, text)) <= len(text) / LONGEST_PRETOKEN


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


NUMBER_FORMATS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def written(kind: int, value: Any) -> bytes:
    """A value as a GGUF file holds it; a list is given as (kind of its items, items)."""
    if kind == tokenizers.STRING:
        return text(value)
    if kind == tokenizers.ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(written(inner, item) for item in items)
    return struct.pack(NUMBER_FORMATS[kind], value)


def file_of(entries: dict[str, tuple[int, Any]]) -> bytes:
    body = b"".join(text(key) + struct.pack("<I", kind) + written(kind, v) for key, (kind, v) in entries.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body


ENTRIES: dict[str, tuple[int, Any]] = {
    "general.architecture": (tokenizers.STRING, "gemma3"),
    "words": (tokenizers.ARRAY, (tokenizers.STRING, ["a", "▁caf\u00e9", ""])),
    "scores": (tokenizers.ARRAY, (6, [0.5, -1.0])),
    "nested": (tokenizers.ARRAY, (tokenizers.ARRAY, [(4, [1, 2]), (4, [])])),
    **{f"number {kind}": (kind, 1) for kind in NUMBER_FORMATS},
    "tokenizer.chat_template": (tokenizers.STRING, "{{ messages }}"),
}
WHOLE = file_of(ENTRIES)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


def test_every_kind_of_value_is_read(path: Path) -> None:
    path.write_bytes(WHOLE + b"tensors")
    found = tokenizers.metadata(path)
    assert list(found) == list(ENTRIES)
    assert found["words"] == ["a", "▁café", ""]
    assert found["scores"] == (0.5, -1.0)
    assert found["nested"] == [(1, 2), ()]
    assert {found[f"number {kind}"] for kind in NUMBER_FORMATS} == {1}


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(path: Path, length: int) -> None:
    path.write_bytes(WHOLE[:length])
    with pytest.raises(OperatorError, match=r"model\.gguf is (not a GGUF file|cut short or damaged)"):
        tokenizers.metadata(path)


DAMAGED = st.builds(WHOLE[24:].replace, st.sampled_from([b"\1", b"a", b"\0"]), st.binary(max_size=2))


@given(st.binary(max_size=80) | DAMAGED)
def test_damage_is_refused_or_read_but_never_raises_anything_else(path: Path, body: bytes) -> None:
    path.write_bytes(WHOLE[:24] + body)
    with suppress(OperatorError):
        assert isinstance(tokenizers.metadata(path), dict)


def test_other_files_and_missing_ones_are_refused(path: Path) -> None:
    path.write_bytes(b"PK\3\4 a zip archive, say")
    with pytest.raises(OperatorError, match="is not a GGUF file: give --model a"):
        tokenizers.metadata(path)
    with pytest.raises(OperatorError, match="none can't be read: No such file"):
        tokenizers.metadata(path.parent / "none")
    with pytest.raises(OperatorError, match="can't be read: Is a directory"):
        tokenizers.metadata(path.parent)


@pytest.mark.parametrize(
    ("name", "architecture", "words"),
    [("gemma-3-270m", "gemma3", 262_144), ("smollm2-135m-instruct", "llama", 49_152)],
)
def test_the_packaged_models_tell_what_they_are(name: str, architecture: str, words: int) -> None:
    found = tokenizers.metadata(local_model(name).path)
    assert found["general.architecture"] == architecture
    assert len(found["tokenizer.ggml.tokens"]) == len(found["tokenizer.ggml.token_type"]) == words
