"""The flags that a row may set: no others, and spelled as SGLang's parsers have them, old and new."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from extraction.config.sglang_presets import Flags
from tests.actors.flags import KNOWN, options

NEVER = (
    "host", "port", "api_key", "admin_api_key", "trust_remote_code", "dist_init_addr", "nccl_port", "config",
    "enable_lora", "model_path", "model_impl", "tokenizer_path", "load_format", "custom_sigquit_handler",
    "crash_dump_folder", "log_requests", "file_storage_path", "tool_server", "api-key",
)  # fmt: skip


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
@pytest.mark.parametrize("version", KNOWN)
def test_every_flag_is_one_that_sglang_has(version: str, name: str) -> None:
    (said,) = Flags.model_validate({name: value_of(name)}).arguments()
    assert f"--{said}" in options(version)


@pytest.mark.parametrize("name", NEVER)
def test_no_other_flag_can_be_set(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Flags.model_validate({name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grammar_backend", "none; rm"),
        ("mem_fraction_static", 1.0),
        ("max_running_requests", 0),
        ("schedule_policy", "--host"),
        ("quantization", "bitsandbytes"),
    ],
)
def test_no_value_is_passed_on_unseen(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Flags.model_validate({name: value})


def test_the_lists_are_of_both_versions() -> None:
    assert {Path(f"tests/actors/sglang-{version}.txt").is_file() for version in KNOWN} == {True}
    assert "--cuda-graph-max-bs" in options("0.5.17") - options("0.5.23")


def test_a_false_flag_is_left_out_and_a_true_one_has_no_value() -> None:
    assert Flags(disable_radix_cache=False).arguments() == {}
    assert Flags(enable_mixed_chunk=True).arguments() == {"enable-mixed-chunk": True}


def test_what_is_laid_over_wins_where_it_speaks() -> None:
    over, under = Flags(max_running_requests=8), Flags(max_running_requests=4, log_level="info")
    assert over.over(under).said() == {"max_running_requests": 8, "log_level": "info"}
