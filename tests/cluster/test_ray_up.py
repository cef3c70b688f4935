"""The files for `ray up` fit the launcher's schema, obey its rules and ours, and open nothing; checks bite."""

import pytest

from .checks import Manifest, load, ray_up_complaints
from .exposure import exposure_complaints, ray_up_exposure_complaints
from .manifests import CLUSTER, REMOVED, ROOT, Change, changed, renamed
from .schemas import ray_up_schema, schema_complaints

FILES: dict[str, Manifest] = {cloud: load(CLUSTER / f"ray-up-{cloud}.yaml") for cloud in ("aws", "gcp")}
GPU = "available_node_types.gpu-24gb"
NODE = f"{GPU}.node_config"
CLOUDS = pytest.mark.parametrize("cloud", FILES)


@CLOUDS
def test_it_fits_the_schema_of_the_wheel(cloud: str) -> None:
    assert schema_complaints(FILES[cloud], ray_up_schema()) == []


@CLOUDS
@pytest.mark.parametrize(
    "path",
    ["x.idle_timeout_minutes", "x.available_node_types", "auth.ssh_user", f"{GPU}.max_workers", f"{GPU}.labels"],
)
def test_a_misspelt_field_is_found(cloud: str, path: str) -> None:
    document = {"x": FILES[cloud], **FILES[cloud]}  # so that a field of the top has a parent
    spoilt = renamed(document, path)
    spoilt = spoilt["x"] if path.startswith("x.") else {k: v for k, v in spoilt.items() if k != "x"}
    assert schema_complaints(spoilt, ray_up_schema())


@pytest.mark.parametrize(
    "change",
    [("cluster_name", REMOVED), (f"{GPU}.resources", {"GPU": 0.5}), (f"{GPU}.labels", {"extract/vram-gb": 24})],
    ids=lambda change: change[0],
)
def test_a_wrong_value_is_found(change: Change) -> None:
    assert len(schema_complaints(changed(FILES["aws"], change), ray_up_schema())) == 1


@CLOUDS
def test_it_is_right_and_opens_nothing(cloud: str) -> None:
    config = FILES[cloud]
    assert ray_up_complaints(config) == []
    assert [*ray_up_exposure_complaints(config), *exposure_complaints(config)] == []


@CLOUDS
@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("among available_node_types", ("head_node_type", "driver")),
        ("sum of min_workers", (f"{GPU}.min_workers", 13)),
        ("head: takes work", ("available_node_types.head.resources", {})),
        ("head: may be a worker", ("available_node_types.head.max_workers", 1)),
        ("idle_timeout_minutes", ("idle_timeout_minutes", REMOVED)),
        ("not from the lock", ("setup_commands", ["pip install -r requirements.txt"])),
        ("project not installed", ("setup_commands", ["uv pip install -e ."])),
        ("no drain.sh", ("worker_start_ray_commands", ["ray stop", "ray start"])),
        ("min_workers, max_workers", (f"{GPU}.max_workers", REMOVED)),
        ("no extract/vram-gb", (f"{GPU}.labels", REMOVED)),
        ("CPU: not 0", (f"{GPU}.resources", {"CPU": 4, "GPU": 1})),
    ],
)
def test_rules_bite(cloud: str, complaint: str, change: Change) -> None:
    assert any(complaint in each for each in ray_up_complaints(changed(FILES[cloud], change)))


@CLOUDS
@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("public addresses", ("provider.use_internal_ips", False)),
        ("head_start_ray_commands: no token", ("head_start_ray_commands", ["ray start --head"])),
        ("worker_start_ray_commands: no token", ("worker_start_ray_commands", ["ray start"])),
        ("not on loopback", ("head_start_ray_commands", ["RAY_AUTH_MODE=token ray start --head"])),
        ("file_mounts: no token", ("file_mounts", {})),
    ],
)
def test_open_clusters_are_found(cloud: str, complaint: str, change: Change) -> None:
    assert any(complaint in each for each in ray_up_exposure_complaints(changed(FILES[cloud], change)))


PUBLIC = [{"subnetwork": "s", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}]


@pytest.mark.parametrize(
    ("cloud", "complaint", "change"),
    [
        ("aws", "keys instead", ("provider.aws_credentials", {})),
        ("aws", "SecurityGroupIds", (f"{NODE}.SecurityGroupIds", REMOVED)),
        ("aws", "IamInstanceProfile", (f"{NODE}.IamInstanceProfile", REMOVED)),
        ("aws", "MetadataOptions", (f"{NODE}.MetadataOptions", REMOVED)),
        ("aws", "not encrypted", (f"{NODE}.BlockDeviceMappings", [{"Ebs": {"VolumeSize": 200}}])),
        ("gcp", "every machine", ("auth.ssh_private_key", REMOVED)),
        ("gcp", "networkInterfaces", (f"{NODE}.networkInterfaces", REMOVED)),
        ("gcp", "a public address", (f"{NODE}.networkInterfaces", PUBLIC)),
        ("gcp", "serviceAccounts", (f"{NODE}.serviceAccounts", [])),
        ("gcp", "project's keys", (f"{NODE}.metadata", {"items": []})),
    ],
)
def test_open_machines_are_found(cloud: str, complaint: str, change: Change) -> None:
    assert any(complaint in each for each in ray_up_exposure_complaints(changed(FILES[cloud], change)))


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0"])
def test_an_open_security_group_is_found(cidr: str) -> None:
    group = {"GroupName": "extract", "IpPermissions": [{"IpRanges": [{"CidrIp": cidr}]}]}
    assert len(exposure_complaints(changed(FILES["aws"], ("provider.security_group", group)))) == 1


@CLOUDS
def test_file_mounts_name_files_of_the_checkout(cloud: str) -> None:
    mounted = [source for source in FILES[cloud]["file_mounts"].values() if not source.startswith("~")]
    assert [source for source in mounted if not (ROOT / source).exists()] == []


@CLOUDS
def test_servers_are_on_spot_machines_and_the_head_is_not(cloud: str) -> None:
    key = {"aws": "InstanceMarketOptions", "gcp": "scheduling"}[cloud]
    spot = {name: key in each["node_config"] for name, each in FILES[cloud]["available_node_types"].items()}
    assert [name for name, is_spot in spot.items() if is_spot != name.startswith("gpu-")] == []
