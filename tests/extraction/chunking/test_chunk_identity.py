"""The fingerprint changes with whatever changes an answer, and with nothing else."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from extraction.chunking.chunk_identity import file_digest, fingerprint, weights_digest
from extraction.config.settings import Model, Settings
from extraction.prompting.prompt import Example, Prompt
from extraction.prompting.response_schema import wire_schema
from tests.extraction.samples import Vineyard

SETTINGS = Settings(prompt=Prompt(instructions="Read."), model=Model(name="m"))
EXAMPLE = Example(text="Ana.", profile={"owner": "Ana"})


class Bounded(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    year: Annotated[int, Field(ge=1000)]


class Tighter(BaseModel):
    name: Annotated[str, Field(max_length=10)]
    year: Annotated[int, Field(ge=1000)]


class Later(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    year: Annotated[int, Field(ge=1900)]


class Described(BaseModel):
    """A text that is sent only where the prompt lists the fields."""

    name: Annotated[str, Field(max_length=20, title="Name")]
    year: Annotated[int, Field(ge=1000)] = Field(description="a year")


def digest(
    changes: dict[str, Any] | None = None, model: type[BaseModel] = Vineyard, *, bounded: bool = False, **more: Any
) -> str:
    """The fingerprint of SETTINGS with some of them changed; names go as deep as a dot."""
    settings = SETTINGS
    for key, value in (changes or {}).items():
        outer, _, inner = key.partition(".")
        part = getattr(settings, outer).model_copy(update={inner: value}) if inner else value
        settings = settings.model_copy(update={outer: part})
    given = {"served": "m", "weights": None, **more}
    return fingerprint(settings, model, wire_schema(model, bounded=bounded), **given)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt.instructions": "Read well."},
        {"prompt.instructions": "Read.\n{fields}"},
        {"prompt.examples": (EXAMPLE,)},
        {"sampling.temperature": 0.1},
        {"sampling.frequency_penalty": 0.1},
        {"sampling.presence_penalty": 0.1},
        {"sampling.retry_temperature": 0.9},
        {"sampling.seed": 1},
        {"limits.max_output_tokens": 9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_an_answer_changes_it(changes: dict[str, Any]) -> None:
    assert digest(changes) != digest()


def test_another_model_weights_or_schema_change_it() -> None:
    assert len({digest(), digest(served="n"), digest(weights="0" * 64), digest(weights="1" * 64)}) == 4
    assert len({digest(), digest(revision="a" * 40), digest(revision="b" * 40)}) == 3
    assert digest(weights="0" * 64, served="copy") == digest(weights="0" * 64)
    assert digest(bounded=True) != digest()
    assert digest(template="{{ messages }}") != digest()


def test_flags_of_the_server_change_it() -> None:
    flags = [{"quantization": "fp8"}, {"kv_cache_dtype": "fp8_e4m3"}, {"grammar_backend": "llguidance"}]
    assert len({digest(), *(digest(flags=some) for some in flags)}) == 4
    assert digest(flags={}) == digest()


def test_bounds_that_only_judge_replies_change_it() -> None:
    sent = wire_schema(Bounded, bounded=False)
    assert sent == wire_schema(Tighter, bounded=False) == wire_schema(Later, bounded=False)
    assert len({digest(model=model) for model in (Bounded, Tighter, Later)}) == 3


def test_texts_of_the_schema_change_it_only_where_they_are_sent() -> None:
    assert digest(model=Described) == digest(model=Bounded)
    listed = {"prompt.instructions": "{fields}"}
    assert digest(listed, Described) != digest(listed, Bounded)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.tokenizer": "/elsewhere/tokenizer.json"},
        {"limits.max_chunk_tokens": 9_000},
        {"limits.group_target_tokens": None},
        {"servers.gpus_per_server": 2},
        {"ledger.flush_s": 9.0},
        {"llamacpp.slots": 9},
        {"sglang.scenario": "dev_16gb"},
        {"endpoint.url": "http://elsewhere:1/v1"},
        {"columns.text": "body"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_where_and_how_fast_it_runs_does_not(changes: dict[str, Any]) -> None:
    assert digest(changes) == digest()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder, and a home of its own for what is remembered."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "chat_template.jinja", "merges.txt"):
        (folder / name).write_text(f"first {name}")
    for name in ("README.md", "optimizer.pt", ".lock"):
        (folder / name).write_text("not loaded")
    return folder


def overwrite(path: Path) -> None:
    """Other content of the same size, with the times that were there."""
    stat = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(path: Path) -> None:
    """Another file of the same name, size and time of change."""
    stat, other = path.stat(), path.with_suffix(".new")
    other.write_text(path.read_text().swapcase())
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [overwrite, replace])
@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja"])
def test_other_content_under_the_same_name_and_size_is_another_model(
    weights: Path, name: str, change: Callable[[Path], None]
) -> None:
    before = weights_digest(weights)
    change(weights / name)
    assert weights_digest(weights) != before
    change(weights / name)
    assert weights_digest(weights) == before


def test_what_servers_do_not_load_is_not_the_model(weights: Path) -> None:
    before = weights_digest(weights)
    (weights / "optimizer.pt").unlink()
    (weights / "README.md").write_text("read")
    assert weights_digest(weights.rename(weights.parent / "copy")) == before


def test_weights_are_read_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights / "model.safetensors"
    digest = file_digest(path)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert file_digest(path) == digest


def test_without_a_home_nothing_is_remembered(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = weights_digest(weights)
    monkeypatch.setenv("HOME", "/dev/null")
    assert weights_digest(weights) == digest
