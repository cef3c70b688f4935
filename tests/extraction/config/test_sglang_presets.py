"""The matrix: the guide's rows as it has them, the right row for a GPU, and rows that fit."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from extraction.config.sglang_presets import (
    Flags,
    choose_preset,
    fit_flags,
    load_matrix,
    reserve_mib,
    step_down,
    step_up,
)
from extraction.errors import OperatorError
from tests.actors.sglang_options import VERSIONS, options


def value_of(name: str) -> object:
    """A value that the flag takes."""
    field = Flags.model_fields[name]
    for kind in get_args(field.annotation):
        for choice in get_args(kind):
            if isinstance(choice, str):
                return choice
        if kind is bool:
            return True
    return 0.5 if name == "mem_fraction_static" else 1


@pytest.mark.parametrize("name", Flags.model_fields)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_flag_is_one_that_sglang_has(version: str, name: str) -> None:
    (said,) = Flags.model_validate({name: value_of(name)}).arguments()
    assert f"--{said}" in options(version)


@pytest.mark.parametrize("name", ["trust_remote_code", "api-key"])
def test_no_other_flag_can_be_set(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Flags.model_validate({name: "x"})


def test_a_false_flag_is_left_out_and_a_true_one_has_no_value() -> None:
    assert Flags(disable_radix_cache=False).arguments() == {}
    assert Flags(enable_mixed_chunk=True).arguments() == {"enable-mixed-chunk": True}


def test_what_is_laid_over_wins_where_it_speaks() -> None:
    over, under = Flags(max_running_requests=8), Flags(max_running_requests=4, log_level="info")
    assert over.over(under).explicit() == {"max_running_requests": 8, "log_level": "info"}


MATRIX = load_matrix(Path("configs/scenarios.yaml"))
GUIDE = {  # mem_fraction, chunked prefill, running, graphs, max prefill
    "dev_16gb": (0.75, 2048, 4, 16, 8192),
    "balanced": (0.83, 8192, 16, 64, 16384),
    "high_concurrency": (0.88, 4096, 32, 128, 16384),
    "low_latency": (0.80, 4096, 8, 32, 16384),
    "long_prompts": (0.85, 16384, 8, 64, 32768),
}


@pytest.mark.parametrize("name", GUIDE)
def test_the_guides_rows_are_as_it_has_them(name: str) -> None:
    flags = MATRIX.scenarios[name].flags.over(MATRIX.common)
    said = (
        flags.mem_fraction_static, flags.chunked_prefill_size, flags.max_running_requests,
        flags.cuda_graph_max_bs, flags.max_prefill_tokens,
    )  # fmt: skip
    assert said == GUIDE[name]
    assert (flags.context_length, flags.grammar_backend, flags.schedule_policy) == (32768, "xgrammar", "fcfs")


@pytest.mark.parametrize(
    ("gib", "name"),
    [(15.6, "auto_16gb"), (22.5, "auto_24gb"), (23.6, "auto_24gb"), (39.4, "auto_40gb"), (44.5, "auto_40gb"),
     (79.2, "auto_80gb"), (79.6, "auto_80gb"), (139.8, "auto_141gb"), (179.0, "auto_141gb")],
)  # fmt: skip
def test_auto_takes_the_largest_row_that_the_gpu_meets(gib: float, name: str) -> None:
    choice = choose_preset(MATRIX, "auto", "NVIDIA X", gib)
    assert choice.name == name
    assert choice.reason.startswith(f"{name}: NVIDIA X with {gib:.1f} GiB seen, needs")


def test_too_small_a_gpu_is_told_what_is_known() -> None:
    with pytest.raises(OperatorError, match=r"no row .* T400 with 3\.8 GiB: it knows auto_16gb \(from 14\.5 GiB\)"):
        choose_preset(MATRIX, "auto", "T400", 3.8)


def test_an_unknown_row_is_told_what_there_is() -> None:
    with pytest.raises(OperatorError, match=r"--scenario fast: there are dev_16gb, balanced, .* and auto"):
        choose_preset(MATRIX, "fast", "X", 80)


@pytest.mark.parametrize("name", [name for name, row in MATRIX.scenarios.items() if row.needs_gib])
def test_rows_of_auto_fit_their_tier_as_they_are(name: str) -> None:
    needs = MATRIX.scenarios[name].needs_gib
    assert needs is not None
    marketed = {"auto_16gb": 15.99, "auto_24gb": 23.6, "auto_40gb": 39.4, "auto_80gb": 79.2, "auto_141gb": 139.8}
    assert marketed[name] >= needs
    choice = choose_preset(MATRIX, "auto", "X", marketed[name])
    asked = MATRIX.scenarios[name].flags.mem_fraction_static
    assert choice.flags.mem_fraction_static == pytest.approx(asked, abs=0.005)


def test_a_row_that_is_too_large_is_stepped_down_with_the_arithmetic() -> None:
    choice = choose_preset(MATRIX, "balanced", "L4", 22.5)
    assert choice.flags.mem_fraction_static is not None
    assert 0.3 <= choice.flags.mem_fraction_static < 0.5
    assert "stepped down" in choice.reason
    assert "SGLang reserves 13.2" in choice.reason


def test_a_row_that_can_not_hold_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"the row cannot hold: mem_fraction_static 0\.85 leaves"):
        choose_preset(MATRIX, "long_prompts", "L4", 22.5)


@pytest.mark.parametrize(("chunk", "graphs"), [(2048, 42), (4096, 50), (8192, 58), (16384, 74)])
def test_the_reserve_is_sglangs_own(chunk: int, graphs: int) -> None:
    flags = Flags(chunked_prefill_size=chunk, cuda_graph_max_bs=64)
    assert reserve_mib(flags) == 512 + 1.5 * chunk + 128 + 2 * 64 + 8 * graphs
    assert reserve_mib(flags, gpus=4) - reserve_mib(flags) == 3 * 128
    without = flags.model_copy(update={"disable_prefill_cuda_graph": True})
    assert reserve_mib(flags) - reserve_mib(without) == 8 * graphs


def test_the_fp8_row_is_taken_by_name_alone() -> None:
    row = MATRIX.scenarios["auto_80gb_fp8"]
    assert (row.needs_gib, row.flags.quantization, row.flags.kv_cache_dtype) == (None, "fp8", "fp8_e4m3")
    choice = choose_preset(MATRIX, "auto_80gb_fp8", "H100", 79.6)
    assert choice.flags.mem_fraction_static == pytest.approx(0.83, abs=0.002)


def test_more_gpus_a_server_reserve_more_on_each() -> None:
    flags = choose_preset(MATRIX, "auto_80gb", "H100", 79.2, gpus=8).flags
    alone = choose_preset(MATRIX, "auto_80gb", "H100", 79.2).flags
    assert flags.mem_fraction_static is not None and alone.mem_fraction_static == 0.83
    assert flags.mem_fraction_static < 0.83


@given(st.floats(8, 200), st.floats(0.3, 0.95), st.sampled_from([2048, 4096, 8192, 16384]), st.integers(1, 512))
def test_what_fits_leaves_the_reserve(gib: float, fraction: float, chunk: int, graphs: int) -> None:
    asked = Flags(mem_fraction_static=fraction, chunked_prefill_size=chunk, cuda_graph_max_bs=graphs)
    try:
        flags, warning = fit_flags(asked, gib)
    except OperatorError:
        return
    assert flags.mem_fraction_static is not None
    assert (1 - flags.mem_fraction_static) * gib * 1024 >= reserve_mib(asked) - 1e-6
    assert (warning is None) == (flags == asked)


def test_flags_of_the_settings_lie_over_the_rows() -> None:
    choice = choose_preset(
        MATRIX, "auto", "H100", 79.6, over=Flags(grammar_backend="llguidance", max_running_requests=64)
    )
    assert (choice.flags.grammar_backend, choice.flags.max_running_requests) == ("llguidance", 64)
    assert choice.flags.chunked_prefill_size == 8192


def test_the_ladder_goes_down_and_ends() -> None:
    flags: Flags | None = MATRIX.scenarios["auto_80gb"].flags
    rungs = []
    while flags is not None:
        rungs.append((flags.mem_fraction_static, flags.chunked_prefill_size, flags.max_running_requests))
        flags = step_down(flags)
    assert rungs == [(0.83, 8192, 128), (0.75, 8192, 128), (0.75, 2048, 128), (0.75, 2048, 4)]


def test_too_little_static_memory_is_stepped_up_as_far_as_the_gpu_has_it() -> None:
    flags = choose_preset(MATRIX, "auto", "A100", 79.2).flags
    more = step_up(flags, 79.2, gpus=1)
    assert more and more.mem_fraction_static and flags.mem_fraction_static
    assert more.mem_fraction_static > flags.mem_fraction_static
    assert (1 - more.mem_fraction_static) * 79.2 * 1024 >= reserve_mib(more)
    assert step_up(more, 79.2, gpus=1) is None


def test_flags_are_spelled_for_both_versions() -> None:
    said = choose_preset(MATRIX, "auto", "H100", 79.6).flags.arguments()
    assert said["cuda-graph-max-bs-decode"] == 128
    assert "cuda-graph-max-bs" not in said
    assert said["enable-mixed-chunk"] is True


def test_other_flags_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text("scenarios: {mine: {flags: {host: x}}}")
    with pytest.raises(OperatorError, match=r"scenarios\.mine\.flags\.host: Extra inputs"):
        load_matrix(path)
