"""The Kubernetes manifests and the files for `ray up` are valid, and name what is there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

from .kustomize import Manifest, resolve
from .manifests import ALL, CLUSTER, CRD_FOLDER, KUBERAY, RAY_UP, templates
from .schemas import (
    crd_complaints,
    crd_schema,
    kubernetes_complaints,
    pod_complaints,
    ray_up_schema,
    schema_complaints,
)

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl")


def manifest_complaints(document: Manifest) -> list[str]:
    """What Kubernetes' schemas and KubeRay's definitions, where they are at hand, say of a manifest."""
    if document["apiVersion"] != "ray.io/v1":
        return kubernetes_complaints(document)
    found = [complaint for template in templates(document) for complaint in pod_complaints(template)]
    if CRD_FOLDER.is_dir():
        found += crd_complaints(document, crd_schema(CRD_FOLDER, document["kind"]))
    return found


@pytest.mark.parametrize("name", ALL)
def test_it_fits_its_schemas(name: str) -> None:
    assert manifest_complaints(ALL[name]) == []


def test_a_misspelt_field_is_found() -> None:
    """Fields that the schemas do not know are refused, which JSON schemas do by themselves nowhere."""
    policy = ALL["policy"]
    assert manifest_complaints({**policy, "spec": {**policy["spec"], "policyType": ["Egress"]}})
    (pod, *_) = templates(ALL["cluster"])
    assert pod_complaints({**pod, "spec": {**pod["spec"], "toleration": []}})


@pytest.mark.skipif(not CRD_FOLDER.is_dir(), reason="no definitions beside the checkout")
@pytest.mark.parametrize("change", [{"suspended": True}, {"backoffLimit": "1"}, {"entrypoint": None}], ids=str)
def test_a_field_that_the_definition_does_not_know_is_found(change: Manifest) -> None:
    spec = {**ALL["rayjob"]["spec"], **change}
    assert crd_complaints({**ALL["rayjob"], "spec": spec}, crd_schema(CRD_FOLDER, "RayJob"))


@pytest.mark.parametrize("cloud", RAY_UP)
def test_it_fits_the_schema_of_the_launcher(cloud: str) -> None:
    assert schema_complaints(RAY_UP[cloud], ray_up_schema()) == []
    mounted = [source for source in RAY_UP[cloud]["file_mounts"].values() if not source.startswith("~")]
    assert [source for source in mounted if not (ROOT / source).exists()] == []


@needs_kubectl
@pytest.mark.parametrize("folder", ["base", "rayjob", "kueue"])
def test_kustomizations_are_resolved_as_kubectl_does(folder: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERAY / folder)], capture_output=True, text=True, check=True
    )
    assert _sorted(list(yaml.safe_load_all(done.stdout))) == _sorted(resolve(KUBERAY / folder))


def _sorted(documents: list[Manifest]) -> list[Manifest]:
    return sorted(documents, key=lambda each: (each["kind"], each["metadata"]["name"]))


def test_the_runs_machines_are_the_cluster_s() -> None:
    assert ALL["rayjob"]["spec"]["rayClusterSpec"] == ALL["cluster"]["spec"]


def test_every_file_is_looked_at() -> None:
    files = {path.relative_to(KUBERAY).as_posix() for path in KUBERAY.rglob("*.yaml")}
    base = {f"base/{name}.yaml" for name in ("raycluster", "network-policy", "model-cache", "kustomization")}
    others = {"rayjob/rayjob.yaml", "scheduled/backfill.yaml", "scheduled/raycronjob.yaml"}
    assert files == base | others | {"rayjob/kustomization.yaml", "kueue/kustomization.yaml"}


def files_of(command: str) -> list[str]:
    return [word for word in shlex.split(command) if word.endswith((".py", ".yaml")) and "://" not in word]


def test_entrypoints_name_files_of_the_checkout() -> None:
    files = files_of(ALL["rayjob"]["spec"]["entrypoint"])
    (box,) = ALL["backfill"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert files == ["jobs/rayjob.py", "jobs/extract.py", "configs/extract.yaml"]
    files += files_of(" ".join(box["command"]))
    assert "jobs/submit.py" in files
    assert [file for file in files if not (ROOT / file).is_file()] == []


def placeholders(text: str) -> set[str]:
    """What an operator has to fill in."""
    return set(re.findall(r"YOUR-[A-Z0-9]+(?:-[A-Z0-9]+)*", text))


@pytest.mark.parametrize(
    "file", sorted(CLUSTER.rglob("*.yaml")), ids=lambda file: file.relative_to(CLUSTER).as_posix()
)
def test_readme_names_every_placeholder(file: Path) -> None:
    wanted = placeholders(file.read_text(encoding="utf-8"))
    assert wanted <= placeholders((CLUSTER / "README.md").read_text(encoding="utf-8"))
