"""The command line options of two versions of SGLang, as recorded from them."""

from pathlib import Path

VERSIONS = ("0.5.17", "0.5.23")


def options(version: str) -> frozenset[str]:
    """All options of a version's parser, in full."""
    lines = Path(f"tests/actors/sglang-{version}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line.startswith("--"))
