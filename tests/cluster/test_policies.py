"""What the cluster files promise beyond their schemas: nothing is open, GPUs are drained, mistakes not retried."""

import re
from typing import Any

import pytest

from .kustomize import Manifest
from .manifests import ALL, RAY_UP, templates, walk

FILES = {**ALL, **{f"ray-up-{cloud}": each for cloud, each in RAY_UP.items()}}
CLUSTERS = {
    "cluster": ALL["cluster"]["spec"],
    "rayjob": ALL["rayjob"]["spec"]["rayClusterSpec"],
    "kueue": ALL["kueue"]["spec"]["rayClusterSpec"],
}
GROUPS = [(name, group) for name, spec in CLUSTERS.items() for group in spec["workerGroupSpecs"]]
GPU_GROUPS = [pytest.param(each, id=f"{name}-{each['groupName']}") for name, each in GROUPS if "gpu" in str(each)]
PODS = [pytest.param(pod, id=f"{name}-{n}") for name, each in ALL.items() for n, pod in enumerate(templates(each))]
VRAM = "extract/vram-gb"
HOST_RIGHTS = {"hostNetwork", "hostPID", "hostIPC", "privileged", "allowPrivilegeEscalation", "enableIngress"}
PINNED = re.compile(r".+(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]*)")
SECRET_NAME = re.compile(r"secret|password|token|access_?key|api_?key|credential", re.IGNORECASE)
SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|://[^/\s:@]+:[^/\s@]+@|-----BEGIN .*PRIVATE KEY")
# Named like secrets, but the value is a reference, a switch or a path.
REFERENCES = {"secretName", "HttpTokens", "~/.ray/auth_token"}
CLOUDS = pytest.mark.parametrize("cloud", RAY_UP)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_open_and_no_secret_stands_there(name: str) -> None:
    for key, value in walk(FILES[name]):
        assert key not in HOST_RIGHTS or value is False, key
        assert key not in ("hostPort", "hostPath"), key
        assert key != "image" or PINNED.fullmatch(value), value
        assert key not in ("type", "serviceType") or value not in ("LoadBalancer", "NodePort"), key
        if isinstance(value, dict) and value.get("value"):
            assert not SECRET_NAME.search(str(value.get("name"))), value
        if isinstance(value, str) and value:
            assert not SECRET_NAME.search(key) or key in REFERENCES, key
            assert not SECRET_VALUE.search(value) and "0.0.0.0" not in value and "::/0" not in value, value


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_has_no_rights_and_has_bounds(pod: Manifest) -> None:
    spec = pod["spec"]
    security = spec["securityContext"]
    heads = [each["headGroupSpec"]["template"] for each in CLUSTERS.values()]  # autoscalers ask Kubernetes
    assert pod in heads or spec["automountServiceAccountToken"] is False
    assert security["runAsNonRoot"] is True and security["seccompProfile"]["type"] == "RuntimeDefault"
    for box in spec["containers"]:
        rights, bounds = box["securityContext"], box["resources"]
        assert rights["allowPrivilegeEscalation"] is False and rights["capabilities"]["drop"] == ["ALL"]
        assert {"cpu", "memory"} <= bounds["requests"].keys() and "memory" in bounds["limits"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_asks_for_a_token_and_its_head_takes_no_work(name: str) -> None:
    spec = CLUSTERS[name]
    assert spec["authOptions"]["mode"] == "token" and spec["rayVersion"] >= "2.52"  # the first that has tokens
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = spec["workerGroupSpecs"]
    assert len({group["groupName"] for group in groups}) == len(groups)
    for group in groups:
        assert 0 <= group["minReplicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *groups):
        pod = group["template"]["spec"]
        assert pod.get("restartPolicy", "Never") == "Never"  # what autoscaler v2 wants
        assert all({"readinessProbe", "livenessProbe"} <= box.keys() for box in pod["containers"])


@pytest.mark.parametrize("group", GPU_GROUPS)
def test_gpus_are_placed_matched_drained_and_kept_from_other_work(group: Manifest) -> None:
    pod, params = group["template"]["spec"], group["rayStartParams"]
    (box,) = pod["containers"]
    assert "nvidia.com/gpu" in box["resources"]["limits"] and "num-gpus" not in params
    assert params["num-cpus"] == "0" and group["labels"][VRAM].isdecimal()
    assert any(each.get("key") == "nvidia.com/gpu" for each in pod["tolerations"])
    drain = {each["name"]: each.get("value") for each in box["env"]}["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
    assert 60 <= pod["terminationGracePeriodSeconds"] > float(drain)
    mounted = {mount["mountPath"]: mount["name"] for mount in box["volumeMounts"]}
    (shared,) = [each["emptyDir"] for each in pod["volumes"] if each["name"] == mounted["/dev/shm"]]
    size = int(shared["sizeLimit"].removesuffix("Gi")) << 30
    assert shared["medium"] == "Memory" and size > int(params.get("object-store-memory", 0))


def test_there_are_groups_with_gpus_in_every_cluster() -> None:
    assert {str(each.id).split("-")[0] for each in GPU_GROUPS} == CLUSTERS.keys()
    assert len(PODS) > len(GROUPS)


def test_the_policy_closes_both_ways_and_holds_for_all_pods_of_ray() -> None:
    spec = ALL["policy"]["spec"]
    chosen = spec["podSelector"]["matchLabels"].items()
    assert chosen and set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule.get("from") for rule in spec["ingress"])
    assert not any("ipBlock" in peer for rule in spec["ingress"] for peer in rule["from"])
    assert all(rule.get("to") or rule.get("ports") for rule in spec["egress"])
    for name in (*CLUSTERS, "raycronjob", "backfill"):
        assert all(chosen <= pod["metadata"]["labels"].items() for pod in templates(ALL[name])), name


def test_the_weights_are_read_by_all_and_written_by_their_job() -> None:
    claim = ALL["volume"]
    assert set(claim["spec"]["accessModes"]) <= {"ReadWriteMany", "ReadOnlyMany"}
    claimed = [(name, value) for name in ALL for key, value in walk(ALL[name]) if key == "persistentVolumeClaim"]
    assert {value["claimName"] for _, value in claimed} == {claim["metadata"]["name"]}
    assert {name for name, value in claimed if not value.get("readOnly")} == {"download"}


def test_a_scheduled_backfill_runs_alone_and_is_not_tried_again_after_a_mistake() -> None:
    spec = ALL["backfill"]["spec"]
    run = spec["jobTemplate"]["spec"]
    (box,) = run["template"]["spec"]["containers"]
    assert spec["concurrencyPolicy"] == "Forbid" and "startingDeadlineSeconds" in spec
    assert run["template"]["spec"]["restartPolicy"] == "Never"  # what a podFailurePolicy wants
    stop, ignore = run["podFailurePolicy"]["rules"]
    assert (stop["action"], ignore["action"]) == ("FailJob", "Ignore") and ignore["onPodConditions"]
    assert stop["onExitCodes"]["containerName"] == box["name"] and set(stop["onExitCodes"]["values"]) == {2, 3}
    cluster = ALL["cluster"]
    assert f"http://{cluster['metadata']['name']}-head-svc:8265" in box["command"]
    secrets = [value["name"] for key, value in walk(box["env"]) if key == "secretKeyRef"]
    assert secrets == [cluster["spec"]["authOptions"]["secretName"]]


def test_runs_of_kuberay_obey_its_controller() -> None:
    alone, schedule = ALL["rayjob"]["spec"], ALL["raycronjob"]["spec"]
    assert alone["shutdownAfterJobFinishes"] is True and "deletionStrategy" not in alone
    assert "clusterSelector" not in alone
    job = schedule["jobTemplate"]
    assert job["clusterSelector"] == {"ray.io/cluster": ALL["cluster"]["metadata"]["name"]}
    assert len(schedule["schedule"].split()) == 5 and not job.get("backoffLimit") and not job.get("suspend")
    policies = {rule["policy"] for rule in job["deletionStrategy"]["deletionRules"]}
    assert not policies & {"DeleteCluster", "DeleteWorkers"} and not job.get("shutdownAfterJobFinishes")
    assert all(
        len(ALL[name]["metadata"]["name"]) <= 36 for name in (*CLUSTERS, "raycronjob")
    )  # the least of the limits


def test_a_queued_run_has_a_fixed_size() -> None:
    spec, kueue = ALL["kueue"]["spec"]["rayClusterSpec"], ALL["kueue"]
    groups = spec["workerGroupSpecs"]
    sizes = {each["groupName"]: (each["minReplicas"], each["replicas"], each["maxReplicas"]) for each in groups}
    assert sizes == {"cpu": (2, 2, 2), "gpu-80gb": (4, 4, 4)} and spec["enableInTreeAutoscaling"] is False
    assert kueue["spec"]["suspend"] is True and kueue["spec"]["shutdownAfterJobFinishes"] is True
    assert "kueue.x-k8s.io/queue-name" in kueue["metadata"]["labels"]


@CLOUDS
def test_machines_are_private_and_ask_for_a_token(cloud: str) -> None:
    config = RAY_UP[cloud]
    head, worker = (" ".join(config[f"{kind}_start_ray_commands"]) for kind in ("head", "worker"))
    assert config["provider"]["use_internal_ips"] is True and "aws_credentials" not in config["provider"]
    assert "RAY_AUTH_MODE=token" in head and "RAY_AUTH_MODE=token" in worker
    assert "--dashboard-host=127.0.0.1" in head and f"drain.sh {cloud} " in worker
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert cloud != "gcp" or "ssh_private_key" in config["auth"]  # the launcher's own opens every machine
    setup = " && ".join(config["setup_commands"])
    assert "uv pip sync requirements-gpu.lock" in setup and "uv pip install --no-deps -e ." in setup


@CLOUDS
def test_machines_are_of_the_right_kind(cloud: str) -> None:
    config = RAY_UP[cloud]
    types: dict[str, Any] = config["available_node_types"]
    head = types[config["head_node_type"]]
    assert head["resources"] == {"CPU": 0} and head["max_workers"] == 0 and "idle_timeout_minutes" in config
    assert sum(each["min_workers"] for each in types.values()) <= config["max_workers"]
    for name, each in types.items():
        node, gpu = each["node_config"], name.startswith("gpu-")
        assert each["min_workers"] <= each["max_workers"]
        assert ({"aws": "InstanceMarketOptions", "gcp": "scheduling"}[cloud] in node) == gpu  # spot
        assert not gpu or (each["resources"] == {"CPU": 0, "GPU": 1} and each["labels"][VRAM].isdecimal())
        if cloud == "aws":
            assert (
                node["SecurityGroupIds"] and node["IamInstanceProfile"]
            )  # the launcher's own are open, or may all
            assert node["MetadataOptions"]["HttpTokens"] == "required"
            assert node["BlockDeviceMappings"] and all(d["Ebs"]["Encrypted"] for d in node["BlockDeviceMappings"])
        else:
            assert node["networkInterfaces"] and node["serviceAccounts"]
            assert not any("accessConfigs" in network for network in node["networkInterfaces"])
            assert {"key": "block-project-ssh-keys", "value": "TRUE"} in node["metadata"]["items"]
