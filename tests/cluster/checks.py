"""What must hold for the cluster files beyond their schemas: each check returns its complaints."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Rules = Iterable[tuple[bool, str]]

VRAM_LABEL = "extract/vram-gb"
MAX_JOB_NAME = 47
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")


def load(path: Path) -> Manifest:
    """Parse a manifest of one document."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict), f"{path} is not a mapping"
    return document


def broken(rules: Rules) -> list[str]:
    """Return the complaints of the rules that are broken."""
    return [complaint for is_broken, complaint in rules if is_broken]


def entrypoint_files(command: str) -> list[str]:
    """Return the files of the checkout that a command line names."""
    return [word for word in shlex.split(command) if word.endswith((".py", ".yaml")) and "://" not in word]


def placeholders(text: str) -> set[str]:
    """Return what an operator has to fill in."""
    return set(re.findall(r"YOUR-[A-Z0-9]+(?:-[A-Z0-9]+)*", text))


def job_complaints(job: Manifest) -> list[str]:
    """Check a RayJob against the controller's rules, which the CRD schema does not know."""
    name, spec = job["metadata"]["name"], job["spec"]
    shutdown, selector = spec.get("shutdownAfterJobFinishes", False), spec.get("clusterSelector")
    suspend, retries = spec.get("suspend", False), spec.get("backoffLimit", 0)
    ttl, deletion = spec.get("ttlSecondsAfterFinished", 0), spec.get("deletionStrategy", {})
    mode, cluster = spec.get("submissionMode", "K8sJobMode"), spec.get("rayClusterSpec")
    sidecar = mode == "SidecarMode"
    head = cluster["headGroupSpec"]["template"]["spec"] if cluster else {}
    restarts = head.get("restartPolicy", "Never") != "Never"
    rules = [
        (len(name) > MAX_JOB_NAME, f"name: over {MAX_JOB_NAME} characters"),
        (not DNS_1035.fullmatch(name), "name: not a DNS-1035 label"),
        (not spec.get("entrypoint") and mode != "InteractiveMode", "entrypoint: missing"),
        (suspend and not shutdown, "suspend: needs shutdownAfterJobFinishes"),
        (bool(suspend and selector), "suspend: excludes clusterSelector"),
        (ttl > 0 and not shutdown, "ttlSecondsAfterFinished: needs shutdownAfterJobFinishes"),
        (ttl < 0, "ttlSecondsAfterFinished: negative"),
        ("deletionRules" in deletion and shutdown, "deletionRules: exclude shutdownAfterJobFinishes"),
        (not cluster and not selector, "rayClusterSpec or clusterSelector: one is needed"),
        (bool(selector) and sidecar, "clusterSelector: excludes SidecarMode"),
        (bool(selector) and retries > 0, "backoffLimit: excludes clusterSelector"),
        (mode == "InteractiveMode" and retries > 0, "backoffLimit: excludes InteractiveMode"),
        (sidecar and "submitterPodTemplate" in spec, "submitterPodTemplate: excludes SidecarMode"),
        (sidecar and "submitterConfig" in spec, "submitterConfig: excludes SidecarMode"),
        (sidecar and restarts, "head restartPolicy: SidecarMode needs Never"),
        (retries < 0, "backoffLimit: negative"),
        (spec.get("activeDeadlineSeconds", 1) <= 0, "activeDeadlineSeconds: not positive"),
        (spec.get("preRunningDeadlineSeconds", 1) <= 0, "preRunningDeadlineSeconds: not positive"),
    ]
    return broken(rules) + (cluster_complaints(cluster) if cluster else [])


def cluster_complaints(spec: Manifest) -> list[str]:
    """Check a RayCluster's spec against the controller's rules, and the head against ours."""
    auth, version = spec.get("authOptions", {}), str(spec.get("rayVersion", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    release = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    groups = spec.get("workerGroupSpecs", [])
    names = [group["groupName"] for group in groups]
    head = {"groupName": "head", "minReplicas": 1, "maxReplicas": 1} | spec["headGroupSpec"]
    rules = [
        (auth.get("mode") == "token" and release < (2, 52), "authOptions: token needs rayVersion 2.52"),
        (bool(auth.get("enableK8sTokenAuth")), "authOptions: enableK8sTokenAuth does not work in a RayJob"),
        (len(set(names)) < len(names), "workerGroupSpecs: a name twice"),
        (spec["headGroupSpec"].get("rayStartParams", {}).get("num-cpus") != "0", "head: num-cpus is not 0"),
    ]
    complaints = broken(rules)
    for group in [head, *groups]:
        complaints += group_complaints(group, spec)
    return complaints


def group_complaints(group: Manifest, spec: Manifest) -> list[str]:
    """Check a group of pods: replicas, resources, labels, and what a GPU needs."""
    name, pod = group["groupName"], group["template"]["spec"]
    params, labels = group.get("rayStartParams", {}), group.get("labels", {})
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    scaling = bool(spec.get("enableInTreeAutoscaling"))
    second = scaling and spec.get("autoscalerOptions", {}).get("version", "v2") == "v2"
    counted = {"num-cpus", "num-gpus", "memory", "resources"} & params.keys()
    rules = [
        (not pod.get("containers"), "no container"),
        (low is None or high is None, "minReplicas and maxReplicas: both are needed"),
        ((low or 0) < 0 or (high or 0) < 0, "replicas: negative"),
        (low is not None and high is not None and low > high, "minReplicas: over maxReplicas"),
        (bool(counted) and bool(group.get("resources")), "resources: in rayStartParams too"),
        ("labels" in params, "rayStartParams.labels: use labels of the group"),
        (not all(LABEL_KEY.fullmatch(key) for key in labels), "labels: not a key"),
        (not all(LABEL_VALUE.fullmatch(value) for value in labels.values()), "labels: not a value"),
        (second and pod.get("restartPolicy", "Never") != "Never", "restartPolicy: autoscaler v2 needs Never"),
        ("idleTimeoutSeconds" in group and not second, "idleTimeoutSeconds: needs autoscaler v2"),
        (group.get("idleTimeoutSeconds", 0) < 0, "idleTimeoutSeconds: negative"),
        (scaling and bool(group.get("suspend")), "suspend: excludes autoscaling"),
    ]
    return [f"{name}: {complaint}" for complaint in broken(rules) + gpu_complaints(group)]


def gpu_complaints(group: Manifest) -> list[str]:
    """Check that a group with GPUs can be placed, matched, drained, and has shared memory that fits."""
    pod = group["template"]["spec"]
    resources = [container.get("resources", {}) for container in pod.get("containers", [])]
    if not any("nvidia.com/gpu" in bounds for each in resources for bounds in each.values()):
        return []
    limited = any("nvidia.com/gpu" in each.get("limits", {}) for each in resources)
    tolerated = any(each.get("key") == "nvidia.com/gpu" for each in pod.get("tolerations", []))
    rules = [
        (not limited, "nvidia.com/gpu: not in limits"),
        ("num-gpus" in group.get("rayStartParams", {}), "num-gpus: in rayStartParams and in limits"),
        (not group.get("labels", {}).get(VRAM_LABEL, "").isdecimal(), f"labels: no {VRAM_LABEL}"),
        (not shares_memory(pod), "/dev/shm: no emptyDir of medium Memory"),
        (not tolerated, "tolerations: no nvidia.com/gpu"),
        (pod.get("terminationGracePeriodSeconds", 30) < 60, "terminationGracePeriodSeconds: under 60"),
    ]
    return broken(rules)


def shares_memory(pod: Manifest) -> bool:
    """Say whether /dev/shm is a volume in memory."""
    volumes = pod.get("volumes", [])
    memory = {volume["name"] for volume in volumes if volume.get("emptyDir", {}).get("medium") == "Memory"}
    mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts", [])]
    return any(mount["mountPath"] == "/dev/shm" and mount["name"] in memory for mount in mounts)


def ray_up_complaints(config: Manifest) -> list[str]:
    """Check a `ray up` file against the launcher's rules and ours."""
    types, head_type = config.get("available_node_types", {}), config.get("head_node_type")
    head = types.get(head_type, {})
    minimum = sum(node_type.get("min_workers", 0) for node_type in types.values())
    setup = " && ".join(config.get("setup_commands", []))
    rules = [
        (head_type not in types, "head_node_type: not among available_node_types"),
        (minimum > config.get("max_workers", 0), "max_workers: under the sum of min_workers"),
        (head.get("resources", {}).get("CPU") != 0 or "GPU" in head.get("resources", {}), "head: takes work"),
        (head.get("max_workers", 0) != 0, "head: may be a worker too"),
        ("idle_timeout_minutes" not in config, "idle_timeout_minutes: missing"),
        ("uv pip sync requirements-gpu.lock" not in setup, "setup_commands: not from the lock"),
        ("uv pip install --no-deps -e ." not in setup, "setup_commands: project not installed alone"),
    ]
    complaints = broken(rules)
    for name, node_type in types.items():
        low, high = node_type.get("min_workers"), node_type.get("max_workers")
        vram = node_type.get("labels", {}).get(VRAM_LABEL, "")
        gpu = node_type.get("resources", {}).get("GPU", 0) > 0
        bounds = low is None or high is None or low > high
        rules = [(bounds, "min_workers, max_workers"), (gpu and not vram.isdecimal(), f"no {VRAM_LABEL}")]
        complaints += [f"{name}: {complaint}" for complaint in broken(rules)]
    return complaints
