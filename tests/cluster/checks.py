"""What KubeRay's controller and the launcher want beyond their schemas: each check returns its complaints."""

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Rules = Iterable[tuple[bool, str]]

VRAM_LABEL = "extract/vram-gb"
MAX_CLUSTER_NAME, MAX_JOB_NAME, MAX_CRON_JOB_NAME = 53, 47, 36
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
RULE_POLICIES_OF_CLUSTERS = {"DeleteCluster", "DeleteWorkers"}
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")


def load(path: Path) -> Manifest:
    """Parse a manifest of one document."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict), f"{path} is not a mapping"
    return document


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


def name_complaints(document: Manifest) -> list[str]:
    """Check a name against the controller's rules: what it makes of it must be a DNS label too."""
    name, kind = document["metadata"]["name"], document["kind"]
    most = {"RayCluster": MAX_CLUSTER_NAME, "RayJob": MAX_JOB_NAME, "RayCronJob": MAX_CRON_JOB_NAME}[kind]
    rules = [
        (len(name) > most, f"name: over {most} characters"),
        (not DNS_1035.fullmatch(name), "name: not a DNS-1035 label"),
    ]
    return broken(rules)


def cron_job_complaints(document: Manifest) -> list[str]:
    """Check a RayCronJob, whose template is a RayJob's spec without a name."""
    spec = document["spec"]
    rules = [
        (len(str(spec.get("schedule", "")).split()) != 5, "schedule: not five fields"),
    ]
    return broken(rules) + (job_spec_complaints(spec["jobTemplate"]) if "jobTemplate" in spec else [])


def broken(rules: Rules) -> list[str]:
    """Return the complaints of the rules that are broken."""
    return [complaint for is_broken, complaint in rules if is_broken]


def entrypoint_files(command: str) -> list[str]:
    """Return the files of the checkout that a command line names."""
    return [word for word in shlex.split(command) if word.endswith((".py", ".yaml")) and "://" not in word]


def placeholders(text: str) -> set[str]:
    """Return what an operator has to fill in."""
    return set(re.findall(r"YOUR-[A-Z0-9]+(?:-[A-Z0-9]+)*", text))


def job_spec_complaints(spec: Manifest) -> list[str]:
    """Check a RayJob's spec against the controller's rules, which the CRD schema does not know."""
    shutdown, selector = spec.get("shutdownAfterJobFinishes", False), spec.get("clusterSelector")
    suspend, retries = spec.get("suspend", False), spec.get("backoffLimit", 0)
    ttl, deletion = spec.get("ttlSecondsAfterFinished", 0), spec.get("deletionStrategy", {})
    policies = {rule["policy"] for rule in deletion.get("deletionRules", [])}
    cluster = spec.get("rayClusterSpec")
    rules = [
        (not spec.get("entrypoint"), "entrypoint: missing"),
        (suspend and not shutdown, "suspend: needs shutdownAfterJobFinishes"),
        (bool(suspend and selector), "suspend: excludes clusterSelector"),
        (ttl > 0 and not shutdown, "ttlSecondsAfterFinished: needs shutdownAfterJobFinishes"),
        ("deletionRules" in deletion and shutdown, "deletionRules: exclude shutdownAfterJobFinishes"),
        (bool(selector) and bool(policies & RULE_POLICIES_OF_CLUSTERS), "deletionRules: exclude clusterSelector"),
        ("ray.io/cluster" not in (selector or {"ray.io/cluster": ""}), "clusterSelector: no ray.io/cluster"),
        (not cluster and not selector, "rayClusterSpec or clusterSelector: one is needed"),
        (bool(selector) and retries > 0, "backoffLimit: excludes clusterSelector"),
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
    params, labels, boxes = group.get("rayStartParams", {}), group.get("labels", {}), pod.get("containers", [])
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    scaling = bool(spec.get("enableInTreeAutoscaling"))
    second = scaling and spec.get("autoscalerOptions", {}).get("version", "v2") == "v2"
    counted = {"num-cpus", "num-gpus", "memory", "resources"} & params.keys()
    rules = [
        (low is None or high is None, "minReplicas and maxReplicas: both are needed"),
        (low is not None and high is not None and low > high, "minReplicas: over maxReplicas"),
        (bool(counted) and bool(group.get("resources")), "resources: in rayStartParams too"),
        ("labels" in params, "rayStartParams.labels: use labels of the group"),
        (not all(LABEL_KEY.fullmatch(key) for key in labels), "labels: not a key"),
        (not all(LABEL_VALUE.fullmatch(value) for value in labels.values()), "labels: not a value"),
        (not all("readinessProbe" in each and "livenessProbe" in each for each in boxes), "probes: missing"),
        (second and pod.get("restartPolicy", "Never") != "Never", "restartPolicy: autoscaler v2 needs Never"),
        ("idleTimeoutSeconds" in group and not second, "idleTimeoutSeconds: needs autoscaler v2"),
    ]
    return [f"{name}: {complaint}" for complaint in broken(rules) + gpu_complaints(group)]


def gpu_complaints(group: Manifest) -> list[str]:
    """Check that a group with GPUs can be placed, matched, drained, takes no other work, and has shared memory that
    fits."""
    pod, params = group["template"]["spec"], group.get("rayStartParams", {})
    resources = [container.get("resources", {}) for container in pod.get("containers", [])]
    if not any("nvidia.com/gpu" in bounds for each in resources for bounds in each.values()):
        return []
    limited = any("nvidia.com/gpu" in each.get("limits", {}) for each in resources)
    tolerated = any(each.get("key") == "nvidia.com/gpu" for each in pod.get("tolerations", []))
    grace, drain = pod.get("terminationGracePeriodSeconds", 30), variables(pod).get(DRAIN, "30")
    rules = [
        (not limited, "nvidia.com/gpu: not in limits"),
        ("num-gpus" in params, "num-gpus: in rayStartParams and in limits"),
        (params.get("num-cpus") != "0", "num-cpus: not 0, so plan and reduce may hold the GPU"),
        (not group.get("labels", {}).get(VRAM_LABEL, "").isdecimal(), f"labels: no {VRAM_LABEL}"),
        (shared_bytes(pod) == 0, "/dev/shm: no emptyDir of medium Memory with a limit"),
        (int(params.get("object-store-memory", 0)) >= shared_bytes(pod), "/dev/shm: under object-store-memory"),
        (not tolerated, "tolerations: no nvidia.com/gpu"),
        (grace < 60, "terminationGracePeriodSeconds: under 60"),
        (float(drain) >= grace, f"{DRAIN}: not within the grace period"),
    ]
    return broken(rules)


def variables(pod: Manifest) -> dict[str, str]:
    """The environment of a pod's first container, as far as it has plain values."""
    env = pod["containers"][0].get("env", [])
    return {each["name"]: each["value"] for each in env if "value" in each}


def shared_bytes(pod: Manifest) -> int:
    """The size of /dev/shm where it is a volume in memory, else 0."""
    volumes = {volume["name"]: volume.get("emptyDir", {}) for volume in pod.get("volumes", [])}
    mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts", [])]
    for mount in mounts:
        volume = volumes.get(mount["name"], {})
        limit = re.fullmatch(r"(\d+)Gi", volume.get("sizeLimit", ""))
        if mount["mountPath"] == "/dev/shm" and volume.get("medium") == "Memory" and limit:
            return int(limit[1]) << 30
    return 0


def ray_up_complaints(config: Manifest) -> list[str]:
    """Check a `ray up` file against the launcher's rules and ours."""
    types, head_type = config.get("available_node_types", {}), config.get("head_node_type")
    head = types.get(head_type, {})
    minimum = sum(node_type.get("min_workers", 0) for node_type in types.values())
    setup = " && ".join(config.get("setup_commands", []))
    workers = " && ".join(config.get("worker_start_ray_commands", []))
    rules = [
        (head_type not in types, "head_node_type: not among available_node_types"),
        (minimum > config.get("max_workers", 0), "max_workers: under the sum of min_workers"),
        (head.get("resources", {}).get("CPU") != 0 or "GPU" in head.get("resources", {}), "head: takes work"),
        (head.get("max_workers", 0) != 0, "head: may be a worker too"),
        ("idle_timeout_minutes" not in config, "idle_timeout_minutes: missing"),
        ("uv pip sync requirements-gpu.lock" not in setup, "setup_commands: not from the lock"),
        ("uv pip install --no-deps -e ." not in setup, "setup_commands: project not installed alone"),
        (
            f"drain.sh {config['provider']['type']} " not in workers,
            "worker_start_ray_commands: no drain.sh",
        ),
    ]
    complaints = broken(rules)
    for name, node_type in types.items():
        low, high = node_type.get("min_workers"), node_type.get("max_workers")
        vram, resources = node_type.get("labels", {}).get(VRAM_LABEL, ""), node_type.get("resources", {})
        gpu = resources.get("GPU", 0) > 0
        rules = [
            (low is None or high is None or low > high, "min_workers, max_workers"),
            (gpu and not vram.isdecimal(), f"no {VRAM_LABEL}"),
            (gpu and resources.get("CPU") != 0, "CPU: not 0, so plan and reduce may hold the GPU"),
        ]
        complaints += [f"{name}: {complaint}" for complaint in broken(rules)]
    return complaints
