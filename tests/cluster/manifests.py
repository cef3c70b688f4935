"""The project's cluster files: manifests as a Kubernetes API server would get them, and what stands in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

from .kustomize import Manifest, documents, resolve

CLUSTER = ROOT / "cluster"
KUBERAY = CLUSTER / "kuberay"
CRD_FOLDER = ROOT.parent / "shared" / "kuberay"


def _named(folder: Path) -> dict[str, Manifest]:
    return {each["kind"]: each for each in resolve(folder)}


BASE = _named(KUBERAY / "base")
ALL: dict[str, Manifest] = {
    "cluster": BASE["RayCluster"],
    "policy": BASE["NetworkPolicy"],
    "volume": BASE["PersistentVolumeClaim"],
    "download": BASE["Job"],
    "rayjob": _named(KUBERAY / "rayjob")["RayJob"],
    "kueue": _named(KUBERAY / "kueue")["RayJob"],
    "backfill": documents(KUBERAY / "scheduled" / "backfill.yaml")[0],
    "raycronjob": documents(KUBERAY / "scheduled" / "raycronjob.yaml")[0],
}
RAY_UP = {cloud: documents(CLUSTER / f"ray-up-{cloud}.yaml")[0] for cloud in ("aws", "gcp")}


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """The last key and the value of everything below a node."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield str(key), value
        yield from walk(value)


def templates(document: Manifest) -> list[Manifest]:
    """The pod templates in a document, but not a job's template in a schedule."""
    return [value for key, value in walk(document) if key in ("template", "submitterPodTemplate")]
