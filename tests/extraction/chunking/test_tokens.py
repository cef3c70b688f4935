"""Tokens are counted as the server will count them, or estimated so that prose stays below."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from actors.servers.llamacpp import local_model
from extraction.chunking import tokenizers
from extraction.chunking.tokenizers import ByteCounter, BytePairCounter, Counter, load_counter, render
from extraction.errors import OperatorError
from tests.extraction.chunking.test_gguf import file_of

DOCUMENTS = Path(__file__).resolve().parents[3] / "configs" / "demo" / "documents"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def counter_of(name: str) -> Counter:
    return load_counter(str(local_model(name).path))


@pytest.fixture(scope="module", params=["gemma-3-270m", "smollm2-135m-instruct"])
def counter(request: pytest.FixtureRequest) -> Counter:
    return counter_of(request.param)


def test_counts_are_sane(counter: Counter) -> None:
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
def test_any_text_has_a_count(counter: Counter, text: str) -> None:
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


def test_an_estimate_is_not_below_the_count_of_prose(counter: Counter) -> None:
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
    assert render(None, MESSAGES) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_given_template_is_used() -> None:
    assert render("{% for m in messages %}[{{ m['role'] }}] {{ m.content }}{% endfor %}", MESSAGES) == (
        "[system] Be brief.[user] Hello"
    )
    assert render("{{ add_generation_prompt }}", MESSAGES) == "True"


def test_the_packaged_templates_hold_every_message() -> None:
    for name in ("gemma-3-270m", "smollm2-135m-instruct"):
        assert all(m["content"] in render(local_model(name).template, MESSAGES) for m in MESSAGES)


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
        render(template, MESSAGES)
