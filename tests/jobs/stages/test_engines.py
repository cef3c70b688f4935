"""Fleets: what the driver knows of servers before there are any."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from actors.servers.sglang import SglangServer
from extraction.config.settings import Model, Settings, Sglang
from extraction.config.sglang_presets import Flags, load_matrix
from extraction.prompting.prompt import Prompt
from jobs.stages.engines import ANSWER_FLAGS, SCENARIOS, fleet
from jobs.stages.run import Run
from jobs.state.storage import Storage


def run(model: Path, sglang: Sglang, settings: Settings | None = None) -> Run:
    """A run on SGLang that was told so."""
    settings = settings or Settings(prompt=Prompt(instructions="Read."), model=Model(name=str(model)))
    settings = settings.model_copy(update={"sglang": sglang})
    return Run("r", settings, fleet("sglang", settings), Storage(str(model)), model)


@pytest.mark.parametrize(
    "sglang",
    [
        Sglang(scenario="auto_80gb_fp8"),
        Sglang(scenario="auto_80gb", flags=Flags(quantization="fp8")),
        Sglang(flags=Flags(kv_cache_dtype="fp8_e5m2")),
        Sglang(flags=Flags(grammar_backend="outlines")),
        Sglang(flags=Flags(constrained_json_disable_any_whitespace=False)),
    ],
    ids=lambda sglang: sglang.scenario,
)
def test_other_rounding_or_grammar_is_another_fingerprint(model: Path, sglang: Sglang) -> None:
    assert run(model, sglang).fingerprint != run(model, Sglang()).fingerprint


@pytest.mark.parametrize(
    "sglang",
    [
        Sglang(scenario="auto_80gb"),
        Sglang(scenario="dev_16gb", flags=Flags(max_running_requests=2)),
        Sglang(flags=Flags(kv_cache_dtype="auto")),
    ],
    ids=lambda sglang: sglang.scenario,
)
def test_rows_that_round_nothing_have_one_fingerprint(model: Path, sglang: Sglang) -> None:
    assert run(model, sglang).fingerprint == run(model, Sglang()).fingerprint


def test_one_grammar_is_told_from_another_where_the_schema_sent_is_the_same(model: Path) -> None:
    settings = run(model, Sglang()).settings.model_copy(update={"wire": "light"})
    backends = (Sglang(flags=Flags(grammar_backend=name)) for name in ("xgrammar", "llguidance"))
    runs = [run(model, sglang, settings) for sglang in backends]
    assert runs[0].schema == runs[1].schema
    assert runs[0].fingerprint != runs[1].fingerprint


def test_the_memory_of_the_gpus_that_are_there_says_how_many_requests_a_server_takes(model: Path) -> None:
    servers = run(model, Sglang()).fleet
    assert [servers.limit_on(gib) for gib in (None, 10, 15.2, 23.5, 79.6, 140)] == [512, 512, 64, 128, 256, 512]
    assert {run(model, Sglang(scenario="auto_24gb")).fleet.limit_on(gib) for gib in (None, 80)} == {128}
    few = run(model, Sglang(flags=Flags(max_running_requests=4))).fleet
    assert {few.limit_on(gib) for gib in (None, 24, 80)} == {8}


def test_random_weights_are_another_fingerprint(model: Path) -> None:
    dummy = Settings(prompt=Prompt(instructions="Read."), model=Model(name=str(model), load_format="dummy"))
    assert run(model, Sglang(), dummy).fingerprint != run(model, Sglang()).fingerprint


def test_a_model_that_was_trained_on_has_another_fingerprint(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(b"first")
    before = run(model, Sglang()).fingerprint
    weights.write_bytes(b"other")
    assert run(model, Sglang()).fingerprint != before


def test_a_model_of_the_hub_is_its_commit(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without a connection, where the cache knows which commit a branch is at."""
    repository = model / "hub" / "models--vintner--reader"
    (repository / "refs").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(model / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    settings = Settings(prompt=Prompt(instructions="Read."), model=Model(name="vintner/reader"))
    runs = []
    for commit in ("a" * 40, "b" * 40):
        (repository / "refs" / "main").write_text(commit)
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text("{}")
        runs.append(run(model, Sglang(vram_gib=80), settings))
    assert [one.fleet.revision for one in runs] == ["a" * 40, "b" * 40]
    assert runs[0].fingerprint != runs[1].fingerprint
    server = runs[0].fleet.make_server(model)
    assert isinstance(server, SglangServer)
    assert server.settings.model.revision == "a" * 40  # the branch may have moved before it starts
    pinned = settings.model_copy(update={"model": Model(name="vintner/reader", revision="b" * 40)})
    assert run(model, Sglang(), pinned).fingerprint == runs[1].fingerprint
    assert runs[1].record([], None).revision == "b" * 40


def test_no_row_of_auto_rounds() -> None:
    """The driver does not know which of them a GPU's node takes, so none may change answers."""
    own = load_matrix(SCENARIOS).scenarios.values()
    assert not [row for row in own if row.needs_gib and set(row.flags.explicit()) & set(ANSWER_FLAGS)]
    matrix = load_matrix(SCENARIOS)
    rows = [row.flags.over(matrix.common) for row in matrix.scenarios.values() if row.needs_gib]
    assert rows
    assert all(flags.quantization is None and flags.kv_cache_dtype in (None, "auto") for flags in rows)
