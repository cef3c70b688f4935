"""Parses the options of the fake server: its own, and those of SGLang that it supports."""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

FLAGS: list[tuple[str, Callable[[str], Any], Any]] = [
    ("config", Path, None),
    ("port", int, 30000),
    ("host", str, "127.0.0.1"),
    ("served-model-name", str, None),
    ("api-key", str, None),
    ("journal", Path, None),
    ("latency", float, 0.0),
    ("max-running-requests", int, 64),
    ("crash-after", int, None),
    ("exit-zero-after", int, None),
    ("start-delay", float, 0.0),
    ("cold-start", float, 0.0),
    ("requests-per-10-s", int, None),
    ("fail-start", str, None),
    ("order", str, "[]"),
]


def parse_options(argv: list[str]) -> argparse.Namespace:
    """The options of the command line, with those of --config as defaults; unknown flags are ignored."""
    parser = argparse.ArgumentParser(prog="tests.fakes.server", allow_abbrev=False)
    for flag, kind, default in FLAGS:
        parser.add_argument(f"--{flag}", type=kind, default=default)
    parser.add_argument("--model-path", "--model", default="fake-model")
    for switch in ("--never-ready", "--child", "--reserved"):
        parser.add_argument(switch, action="store_true")
    options, _ = parser.parse_known_args(argv)
    if options.config:
        options, _ = parser.parse_known_args(flags_of(options.config) + argv)
    if options.host != "localhost" and not ipaddress.ip_address(options.host).is_loopback:
        parser.error(f"--host {options.host}: the fake serves loopback only")
    return options


def flags_of(path: Path) -> list[str]:
    """The flags that a YAML file of flat keys stands for."""
    flags: list[str] = []
    for key, value in (yaml.safe_load(path.read_text()) or {}).items():
        flag = f"--{str(key).replace('_', '-')}"
        if isinstance(value, bool):
            flags += [flag] if value else []
        elif value is not None:
            flags += [f"{flag}={json.dumps(value) if isinstance(value, dict | list) else value}"]
    return flags
