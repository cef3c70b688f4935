"""The options of SGLang's command line, as recorded from two versions."""

from pathlib import Path

KNOWN = ("0.5.17", "0.5.23")


def options(version: str) -> frozenset[str]:
    """All options that a version's parser has, in full."""
    lines = Path(f"tests/actors/sglang-{version}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line.startswith("--"))
