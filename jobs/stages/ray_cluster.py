"""The Ray that a run uses: the one it is submitted to, or one of its own on this machine."""

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil
import ray
import ray.data
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.data import DataContext
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.servers.sglang import node_gpus, visible_gpus
from actors.servers.supervisor import LOG_MARK
from extraction.errors import OperatorError, ProfilesError, RunError, one_line
from jobs.state.storage import is_outage, is_refusal, with_remedy

Output = TypeVar("Output")
OBJECT_STORE_BYTES = 1 << 30  # documents pass through in blocks of at most 128 MiB
OUR_ERRORS: dict[str, type[ProfilesError]] = {kind.__name__: kind for kind in (OperatorError, RunError)}
OUR_ERROR = re.compile(r"extraction\.errors\.(OperatorError|RunError): (.*)", re.DOTALL)
UPSCALING = 1.1  # tasks that an actor holds for each that it works on, from which a pool gets more of them
FAILED_STARTS = 3  # of servers, one after another, that a run of several bears: nodes differ, mistakes hit all
AUTOSCALING_STATUS = "__autoscaling_status"  # where the autoscaler v1 writes what it does
HEAD_ANSWERS_S = 5
# Ray waits 30 seconds for a node of its own, which has no setting and is not enough where others have the cores.
SLOW_START, MOST_STARTS = "timed out during startup", 3
ANSWERED_WITHIN_S = 20.0  # an autoscaler looks every 5 seconds at what is asked for
KINDS_ASKED = 8  # of nodes, what memory their GPUs have
MEMORY_GIB: dict[str, float] = {}  # of GPUs, by the kind of their node
NO_PROGRESS_S = 24 * 3600  # nodes and weights may take hours to come; requests have deadlines of their own


@contextmanager
def connected(cpus: int = 2) -> Iterator[None]:
    """Ray for the length of a run: RAY_ADDRESS (set in submitted jobs), or a local one that ends with it, which is
    told of at least so many `cpus`."""
    if ray.is_initialized():
        _configure_data()
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _init(address=address)
    else:
        _init(
            address="local",
            num_cpus=max(cpus, os.cpu_count() or 1),
            object_store_memory=min(OBJECT_STORE_BYTES, psutil.virtual_memory().available // 4),
            include_dashboard=False,
        )
    _configure_data()
    try:
        yield
    finally:
        ray.shutdown()


def reason(error: BaseException) -> ProfilesError | None:
    """The error of this project's own that is behind another, however Ray wrapped it; a storage's failure too."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ProfilesError):
            return seen
        if is_refusal(seen):
            return OperatorError(f"the storage refuses: {with_remedy(seen)}")
        # A timeout of Ray's own is an OSError too; what a task met stands behind its error.
        if isinstance(seen, Exception) and not isinstance(seen, ray.exceptions.RayError) and is_outage(seen):
            return RunError(f"the storage failed: {seen}. The same command goes on where this one came to")
        cause = getattr(seen, "cause", None)
        seen = cause if isinstance(cause, BaseException) else seen.__cause__
    # Of an error in an actor's constructor Ray keeps the text alone.
    match = OUR_ERROR.search(str(error))
    return OUR_ERRORS[match[1]](match[2].strip()) if match else None


def require_gpus(wanted: int) -> None:
    """Raise OperatorError where this machine has fewer GPUs than one server wants; a cluster may grow."""
    if not may_autoscale() and (have := gpus()) < wanted:
        raise OperatorError(
            f"--engine sglang wants {wanted} GPU(s) a server, and {have} can be seen on this machine: --engine "
            "llamacpp runs on its cores, --endpoint URL asks a server elsewhere, --plan needs no GPU"
        )


def may_autoscale() -> bool:
    """Whether Ray may get more nodes: a run's own Ray on one machine does not."""
    return bool(os.environ.get("RAY_ADDRESS"))


def gpu_slots(gpus_each: int) -> int:
    """How many servers of so many GPUs each the cluster's nodes have room for, whoever is there now."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(int(resources.get("GPU", 0)) // gpus_each for resources in nodes)


def gpu_memory_gib() -> float | None:
    """The memory of the cluster's largest GPU in GiB; None where there is none yet, or no node tells.

    One node of each kind that Ray knows by its accelerator is asked, and once in the life of this process.
    """
    if not may_autoscale():
        with contextlib.suppress(RunError):
            return max((gpu.vram_gib for gpu in visible_gpus()), default=None)
        return None
    kinds = dict[str, str]()
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("GPU"):
            kind = next(
                (name for name in node["Resources"] if name.startswith("accelerator_type:")), node["NodeID"]
            )
            kinds[kind] = node["NodeID"]
    asked = {}
    for kind, node_id in list(kinds.items())[:KINDS_ASKED]:
        if kind not in MEMORY_GIB:
            there = NodeAffinitySchedulingStrategy(node_id, soft=False)
            asked[ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(node_gpus).remote()] = kind
    answers, _ = ray.wait([*asked], num_returns=len(asked), timeout=ANSWERED_WITHIN_S) if asked else ([], [])
    for answer in answers:
        with contextlib.suppress(ray.exceptions.RayError):  # it has no NVML, or is gone
            MEMORY_GIB[asked[answer]] = max((gpu.vram_gib for gpu in ray.get(answer)), default=0)
    return max((MEMORY_GIB[kind] for kind in kinds if MEMORY_GIB.get(kind)), default=None)


def schedulable_servers(servers: int, gpus_each: int, labels: Mapping[str, str]) -> int:
    """How many of so many servers have a free place or can get one, as the autoscaler v2 says when it is asked; all
    of them where another or none is there."""
    if not may_autoscale() or not _autoscaling_state().autoscaler_state_version:
        return servers
    ask = ray.remote(num_cpus=0, num_gpus=gpus_each, label_selector=dict(labels))(_CapacityProbe)
    asked = [ask.remote() for _ in range(servers)]  # from here on nodes come
    try:
        first = _autoscaling_state().autoscaler_state_version
        until = time.monotonic() + ANSWERED_WITHIN_S
        while (state := _autoscaling_state()).autoscaler_state_version < first + 2 and time.monotonic() < until:
            time.sleep(0.5)
        gpus = [request.resources_bundle.get("GPU", 0) for request in state.infeasible_resource_requests]
        return max(0, servers - gpus.count(gpus_each))
    finally:
        for actor in asked:
            ray.kill(actor)


class _CapacityProbe:
    """Asks for a GPU, and does nothing with it."""


def pending_nodes() -> Counter[str]:
    """The nodes that an autoscaler of either version waits for, by type; none while the head does not answer."""
    if not may_autoscale() or not ray.is_initialized():
        return Counter()
    with contextlib.suppress(Exception):  # what can't be told now is told later
        state = _autoscaling_state()
        return pending_by_second(state) if state.autoscaler_state_version else pending_by_first(_first_status())
    return Counter()


def pending_by_second(state: Any) -> Counter[str]:
    """The nodes that the autoscaler v2 waits for, by its state."""
    nodes = Counter[str](each.ray_node_type_name for each in state.pending_instances)
    for request in state.pending_instance_requests:
        nodes[request.ray_node_type_name] += request.count
    return nodes


def pending_by_first(status: Mapping[str, Any]) -> Counter[str]:
    """The nodes that the autoscaler v1 waits for, by its report."""
    report = status.get("autoscaler_report") or {}
    return Counter[str](report.get("pending_launches") or {}) + Counter(
        kind for _, kind, _ in report.get("pending_nodes") or ()
    )


# Ray has no public way to ask its autoscaler what it waits for.


def _autoscaling_state() -> Any:
    client = ray._private.worker.global_worker.gcs_client
    return GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=HEAD_ANSWERS_S)).autoscaling_state


def _first_status() -> Mapping[str, Any]:
    status: Mapping[str, Any] = json.loads(_internal_kv_get(AUTOSCALING_STATUS) or "{}")
    return status


def allow_failed_starts(servers: int) -> None:
    """Let the next pool replace an actor whose server can't be started, unless it is the only one."""
    DataContext.get_current().max_consecutive_actor_init_deaths = FAILED_STARTS if servers > 1 else 0


def map_tasks(function: Callable[..., Output], items: Iterable[tuple[Any, ...]]) -> list[Output]:
    """What a function gives for each item, whose parts are its arguments, in the order of items.

    Each call is a task that is run again where its worker dies; what else fails is raised. As many tasks wait as
    the cluster works on, so that it may grow.
    """
    task = ray.remote(max_retries=-1, scheduling_strategy="SPREAD")(function)
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    asked, pending = list[Any](), list[Any]()
    for item in items:
        if len(pending) >= most:
            (done,), pending = ray.wait(pending)
            ray.get(done)
        asked.append(task.remote(*item))
        pending.append(asked[-1])
    outputs: list[Output] = ray.get(asked)
    return outputs


def gpus() -> int:
    """GPUs of the cluster, or of this machine where the run has no cluster."""
    if os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        with connected():
            return int(ray.cluster_resources().get("GPU", 0))
    try:
        return len(visible_gpus())
    except RunError:  # no driver
        return 0


def _init(*, address: str, **more: Any) -> None:
    """Start Ray, or join it, so that of all that its processes print only our own lines are shown: what fails is
    raised, and told in a line. Raises RunError where that fails, for which Ray has errors of many kinds."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray").setLevel(logging.ERROR)
    # At a SIGTERM it prints C++ frames, and may abort the driver. Its variable is read when Ray is imported.
    ray._private.ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
    # Ray has no switch for the tracebacks of actors that it shows to a driver.
    ray._private.worker.print_to_stdstream = _show_ours
    for starts in range(1, MOST_STARTS + 1):
        before = {process.pid for process in psutil.Process().children(recursive=True)}
        try:
            with _without_stderr():  # where Ray announces the log level
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=True, **more)
            return
        except Exception as error:
            message = one_line(str(error))
            if address != "local":
                raise RunError(f"a Ray at RAY_ADDRESS = {address} can't be joined: {message}") from None
            if SLOW_START not in message or starts == MOST_STARTS:
                raise RunError(f"a Ray could not be started here: {message}") from None
        for process in psutil.Process().children(recursive=True):
            if process.pid not in before:  # what it has left would not end before this process
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def _show_ours(printed: Mapping[str, Any], *_: Any, **__: Any) -> None:
    """Show the lines that our actors print, of what one process has printed."""
    for line in printed["lines"]:
        if line.startswith(LOG_MARK):
            print(line.removeprefix(LOG_MARK), file=sys.stderr)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """What C++ code prints on standard error is dropped."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _configure_data() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    context.autoscaling_config.actor_pool_util_upscaling_threshold = UPSCALING
    # What it would tell with a long traceback is raised, and told in a line.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
