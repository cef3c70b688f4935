"""The project's manifests as a Kubernetes API server would get them, and ways to spoil one."""

import json
from pathlib import Path
from typing import Any

from .checks import Manifest
from .kustomize import documents, resolve

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
KUBERAY = CLUSTER / "kuberay"
SCHEDULED = KUBERAY / "scheduled"
CRD_FOLDER = ROOT.parent / "shared" / "kuberay"
REMOVED = object()
Change = tuple[str, Any]


def _named(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {each["kind"]: each for each in manifests}


BASE = _named(resolve(KUBERAY / "base"))
ALL: dict[str, Manifest] = {
    "cluster": BASE["RayCluster"],
    "policy": BASE["NetworkPolicy"],
    "volume": BASE["PersistentVolumeClaim"],
    "download": BASE["Job"],
    "rayjob": _named(resolve(KUBERAY / "rayjob"))["RayJob"],
    "kueue": _named(resolve(KUBERAY / "kueue"))["RayJob"],
    "backfill": documents(SCHEDULED / "backfill.yaml")[0],
    "raycronjob": documents(SCHEDULED / "raycronjob.yaml")[0],
}
RAYS = [name for name, each in ALL.items() if each["apiVersion"] == "ray.io/v1"]
KUBERNETES = [name for name in ALL if name not in RAYS]


def changed(document: Manifest, *changes: Change) -> Manifest:
    """Copy a document with values set or removed at dotted paths."""
    copy: Manifest = json.loads(json.dumps(document))
    for path, value in changes:
        *parents, last = path.split(".")
        node: Any = copy
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        if value is REMOVED:
            del node[int(last) if isinstance(node, list) else last]
        elif isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    return copy


def renamed(document: Manifest, path: str) -> Manifest:
    """Copy a document with the last key of a dotted path misspelt."""
    parent, _, last = path.rpartition(".")
    node: Any = document
    for key in parent.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return changed(document, (f"{parent}.{last}", REMOVED), (f"{parent}.{last}x", node[last]))
