"""What `kubectl kustomize FOLDER` prints, as far as the project's own kustomizations go."""

import copy
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Manifest = dict[str, Any]
LOCAL = "config.kubernetes.io/local-config"
KNOWN = {"apiVersion", "kind", "resources", "patches", "replacements"}


def documents(path: Path) -> list[Manifest]:
    """All documents of a YAML file."""
    found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert all(isinstance(document, dict) for document in found), f"{path} holds what is no mapping"
    return copy.deepcopy(found)


def resolve(folder: Path) -> list[Manifest]:
    """The documents of a kustomization, patched, and with values copied from one to another."""
    (said,) = documents(folder / "kustomization.yaml")
    assert said.keys() <= KNOWN, f"{folder}: {said.keys() - KNOWN} is not understood here"
    resources: list[Manifest] = []
    for name in said["resources"]:
        path = folder / name
        resources += resolve(path) if path.is_dir() else documents(path)
    for patch in said.get("patches", []):
        for number in _selected(resources, patch["target"]):
            resources[number] = jsonpatch.apply_patch(resources[number], yaml.safe_load(patch["patch"]))
    for replacement in said.get("replacements", []):
        _replace(resources, replacement)
    return [each for each in resources if LOCAL not in each["metadata"].get("annotations", {})]


def _selected(resources: list[Manifest], target: Manifest) -> list[int]:
    assert target.keys() == {"kind"}, "targets are kinds here"
    found = [number for number, each in enumerate(resources) if each["kind"] == target["kind"]]
    assert found, f"no {target['kind']} to patch"
    return found


def _replace(resources: list[Manifest], replacement: Manifest) -> None:
    source = replacement["source"]
    (value,) = [
        _at(each, source["fieldPath"])
        for each in resources
        if (each["kind"], each["metadata"]["name"]) == (source["kind"], source["name"])
    ]
    for target in replacement["targets"]:
        for number in _selected(resources, target["select"]):
            for path in target["fieldPaths"]:
                parent, _, last = path.rpartition(".")
                _at(resources[number], parent)[last] = copy.deepcopy(value)


def _at(document: Manifest, path: str) -> Any:
    node: Any = document
    for key in path.split("."):
        node = node[key]
    return node
