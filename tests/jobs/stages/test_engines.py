"""Fleets: what the driver knows of servers before there are any."""

from pathlib import Path

import pytest

from extraction.config.settings import Model, Settings, Sglang
from extraction.config.sglang_presets import Flags, load_matrix
from extraction.prompting.prompt import Prompt
from jobs.stages.engines import SCENARIOS, fleet
from jobs.stages.run import Run
from jobs.state.storage import Storage
from tests.jobs.test_sglang_job import model

__all__ = ["model"]  # a fixture


def run(model: Path, sglang: Sglang) -> Run:
    """A run on SGLang that was told so."""
    settings = Settings(prompt=Prompt(instructions="Read."), model=Model(name=str(model)), sglang=sglang)
    return Run("r", settings, fleet("sglang", settings), Storage(str(model)), model)


@pytest.mark.parametrize(
    "sglang",
    [
        Sglang(scenario="auto_80gb_fp8"),
        Sglang(scenario="auto_80gb", flags=Flags(quantization="fp8")),
        Sglang(flags=Flags(kv_cache_dtype="fp8_e5m2")),
    ],
    ids=lambda sglang: sglang.scenario,
)
def test_rounded_weights_or_cache_are_another_fingerprint(model: Path, sglang: Sglang) -> None:
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


def test_no_row_of_auto_rounds() -> None:
    """The driver does not know which of them a GPU's node takes, so none may change answers."""
    matrix = load_matrix(SCENARIOS)
    rows = [row.flags.over(matrix.common) for row in matrix.scenarios.values() if row.needs_gib]
    assert rows
    assert all(flags.quantization is None and flags.kv_cache_dtype in (None, "auto") for flags in rows)
