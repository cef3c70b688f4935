"""The fields that KubeRay 1.7 knows, where the project's manifests have any: a misspelt one is found without the
definitions at hand. Pods are checked by Kubernetes' own schemas."""

from collections.abc import Iterator
from typing import Any

from .checks import Manifest

OBJECT = {"apiVersion", "kind", "metadata", "spec"}
CLUSTER = {
    "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec",
    "workerGroupSpecs", "suspend", "managedBy", "gcsFaultToleranceOptions", "headServiceAnnotations",
    "historyServerOptions", "networkPolicy", "tlsOptions", "upgradeStrategy",
}  # fmt: skip
AUTH = {"mode", "secretName", "enableK8sTokenAuth"}
AUTOSCALER = {
    "version", "idleTimeoutSeconds", "upscalingMode", "resources", "securityContext", "image", "imagePullPolicy",
    "env", "envFrom", "volumeMounts", "command", "args",
}  # fmt: skip
HEAD = {
    "rayStartParams", "serviceType", "headService", "enableIngress", "ingressOptions", "labels", "resources",
    "template",
}  # fmt: skip
WORKER = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "priority", "labels", "resources",
    "numOfHosts", "rayStartParams", "scaleStrategy", "suspend", "template",
}  # fmt: skip
JOB = {
    "entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "runtimeEnvYAML", "jobId",
    "metadata", "submissionMode", "submitterPodTemplate", "submitterConfig", "backoffLimit",
    "activeDeadlineSeconds", "preRunningDeadlineSeconds", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
    "suspend", "managedBy", "clusterSelector", "rayClusterSpec", "deletionStrategy",
}  # fmt: skip
CRON_JOB = {"schedule", "timeZone", "suspend", "jobTemplate"}
DELETION, RULE, CONDITION = (
    {"deletionRules", "onSuccess", "onFailure"},
    {"policy", "condition"},
    {"jobStatus", "jobDeploymentStatus", "ttlSeconds"},
)


def unknown_fields(document: Manifest) -> list[str]:
    """Fields of a RayCluster, RayJob or RayCronJob that KubeRay does not know."""
    below = {"RayCluster": _cluster, "RayJob": _job, "RayCronJob": _cron_job}[document["kind"]]
    return [*_beyond("", document, OBJECT), *below("spec", document["spec"])]


def templates(document: Manifest) -> Iterator[tuple[str, Manifest]]:
    """The pod templates in a document, with their paths."""
    yield from _templates("", document)


def _templates(path: str, node: Any) -> Iterator[tuple[str, Manifest]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        here = f"{path}.{key}".lstrip(".")
        if key in ("template", "submitterPodTemplate"):
            yield here, value
        else:
            yield from _templates(here, value)


def _beyond(path: str, node: Manifest, known: set[str]) -> list[str]:
    return [f"{path}.{key}".lstrip(".") for key in node if key not in known]


def _cluster(path: str, spec: Manifest) -> list[str]:
    found = _beyond(path, spec, CLUSTER)
    found += _beyond(f"{path}.authOptions", spec.get("authOptions", {}), AUTH)
    found += _beyond(f"{path}.autoscalerOptions", spec.get("autoscalerOptions", {}), AUTOSCALER)
    found += _beyond(f"{path}.headGroupSpec", spec.get("headGroupSpec", {}), HEAD)
    for number, group in enumerate(spec.get("workerGroupSpecs", [])):
        found += _beyond(f"{path}.workerGroupSpecs.{number}", group, WORKER)
    return found


def _job(path: str, spec: Manifest) -> list[str]:
    found, deletion = _beyond(path, spec, JOB), spec.get("deletionStrategy", {})
    found += _beyond(f"{path}.deletionStrategy", deletion, DELETION)
    for rule in deletion.get("deletionRules", []):
        found += _beyond(f"{path}.deletionStrategy", rule, RULE)
        found += _beyond(f"{path}.deletionStrategy", rule.get("condition", {}), CONDITION)
    return found + (_cluster(f"{path}.rayClusterSpec", spec["rayClusterSpec"]) if "rayClusterSpec" in spec else [])


def _cron_job(path: str, spec: Manifest) -> list[str]:
    return [*_beyond(path, spec, CRON_JOB), *_job(f"{path}.jobTemplate", spec.get("jobTemplate", {}))]
