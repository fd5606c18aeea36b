"""`bench net`: what the pod network carries, and how long it takes, measured between pods of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from provisioner.action.connect import connect_to
from provisioner.action.locks import lock
from provisioner.action.variables import NET_BENCH
from provisioner.engine.events import Emit, NetMeasured, PathMeasured, Progress
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.aliases import CONTROL_PLANE
from provisioner.inventory.model import Inventory
from provisioner.kube.bench_objects import FAR, NEAR, Placement
from provisioner.kube.bench_pods import Addresses, BenchPods
from provisioner.kube.bench_tools import (
    Latency,
    Throughput,
    latency_command,
    parse_latency,
    parse_throughput,
    throughput_command,
)
from provisioner.network.needs import needs_of
from provisioner.registry.names import pullable
from provisioner.spec.model import ClusterSpec

if TYPE_CHECKING:
    from provisioner.action.load import Loaded
    from provisioner.bundle.layout import Bundle
    from provisioner.resources.model import Runner

Found = TypeVar("Found", Throughput, Latency)
_FLOATS = ("throughput", "p50", "p90", "p99")
_MTU = "cat /sys/class/net/eth0/mtu"


@dataclass(frozen=True)
class _Path:
    """A way to measure, and the address at its end."""

    name: str
    target: str
    address: str


def measure(loaded: Loaded, emit: Emit, *, seconds: int, before: Sequence[PathMeasured] = ()) -> NetMeasured:
    """Measures, and emits what was found. Raises ProvisionError when the cluster cannot be measured, or something of
    the measurement could not be removed, and LockedError while another run is at work."""
    if loaded.spec is None or loaded.bundle is None:
        raise ProvisionError("there is no cluster to measure")
    _check(loaded.spec, loaded.inventory)
    image = image_of(loaded.spec, loaded.bundle)
    placement = placed(loaded.inventory, loaded.spec)
    pods = BenchPods(loaded.run, image, placement)
    with ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, [loaded.state_host]))
        lock(stack, pool, loaded, [loaded.state_host])
        runner = pool.session(loaded.state_host)
        with _there(pods, runner) as addresses:
            found = tuple(_measured(pods, runner, placement, addresses, seconds, emit))
            mtu = _mtu(pods, runner)
    report = NetMeasured(
        cluster=loaded.spec.name,
        network=mode_of(loaded.spec),
        seconds=seconds,
        mtu=mtu,
        paths=found,
        before=tuple(before),
    )
    emit(report)
    return report


def placed(inventory: Inventory, spec: ClusterSpec) -> Placement:
    """The first two nodes; those that are control planes, too, only where there are not enough others."""
    planes = {host.name for host in inventory.group(CONTROL_PLANE)}
    nodes = [name for name, node in spec.nodes.items() if node.node]
    chosen = sorted(nodes, key=lambda name: name in planes)[:2]
    return Placement(chosen[0], chosen[1] if len(chosen) > 1 else "")


def mode_of(spec: ClusterSpec) -> str:
    """Plug-in and mode, in words."""
    if spec.network.carrier == "flannel":
        direct = " with direct routing" if spec.network.flannel.direct_routing else ""
        return f"{spec.network.plugin} {spec.network.flannel.backend}{direct}"
    if spec.network.plugin == "cilium":
        return needs_of(spec).what
    calico = spec.network.calico
    return (
        f"{spec.network.plugin} {', '.join(sorted(calico.encapsulations))}{', WireGuard' * calico.wireguard}"
    )


def image_of(spec: ClusterSpec, bundle: Bundle) -> str:
    """The reference of the image with the tools. Raises ProvisionError when the bundle has none."""
    for each in bundle.images():
        if each.name == NET_BENCH:
            registry = spec.registry
            return pullable(registry.host, registry.port, each.name, each.digest, registry.project)
    raise ProvisionError(
        f"the bundle {bundle.path} has no image {NET_BENCH}",
        "`provision bundle build` makes it, then `provision apply INVENTORY --stage images` brings it to the registry",
    )


def read_before(path: Path) -> tuple[PathMeasured, ...]:
    """The paths of the last measurement in what --json printed. Raises InputError when there is none."""
    found: tuple[PathMeasured, ...] = ()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if said["event"] == "NetMeasured":
                found = tuple(_path(each) for each in said["paths"])
    if not found:
        reason = "there is no measurement in it"
        raise InputError([Problem(str(path), 0, 0, reason, "`provision bench net INVENTORY --json >FILE`")])
    return found


def _path(said: dict[str, Any]) -> PathMeasured:
    known = {each.name for each in fields(PathMeasured)}
    given = {key: value for key, value in said.items() if key in known}
    return PathMeasured(**{**given, **{name: float(given[name]) for name in _FLOATS}})


def _check(spec: ClusterSpec, inventory: Inventory) -> None:
    if spec.existing is not None:
        raise InputError(
            [
                Problem(
                    *inventory.origin(None, "cluster", "existing"),
                    "a cluster that others have built has no registry with the image that measures",
                )
            ]
        )
    if all(":" in cidr for cidr in spec.network.pod_cidrs):
        where = inventory.origin(None, "cluster", "network", "pod_cidrs")
        reason = "pods have IPv6 addresses alone, and sockperf 3.7 measures over IPv4"
        raise InputError([Problem(*where, reason)])


@contextmanager
def _there(pods: BenchPods, runner: Runner) -> Iterator[Addresses]:
    """While the pods are there. Why something failed comes before what could not be removed after it."""
    try:
        yield pods.set_up(runner)
    except BaseException:
        with suppress(ProvisionError):
            pods.remove(runner)
        raise
    pods.remove(runner)


def _measured(
    pods: BenchPods, runner: Runner, placement: Placement, addresses: Addresses, seconds: int, emit: Emit
) -> Iterator[PathMeasured]:
    paths = list(_paths(placement, addresses))
    for number, path in enumerate(paths):
        emit(Progress(task="measure", subject=path.name, done=number, total=len(paths), unit="paths"))
        throughput = _asked(
            pods, runner, throughput_command(path.address, seconds), parse_throughput, seconds, path
        )
        latency = _asked(pods, runner, latency_command(path.address, seconds), parse_latency, seconds, path)
        yield _event(path, placement, throughput, latency)


def _paths(placement: Placement, addresses: Addresses) -> Iterator[_Path]:
    yield _Path("same-node", placement.here, addresses.pods[NEAR])
    if placement.there:
        yield _Path("other-node", placement.there, addresses.pods[FAR])
    yield _Path("service", placement.servers[placement.behind], addresses.service)


def _asked(
    pods: BenchPods,
    runner: Runner,
    command: str,
    parse: Callable[[str], Found],
    seconds: int,
    path: _Path,
) -> Found:
    try:
        return parse(pods.ask(runner, command, seconds))
    except ProvisionError as fault:
        raise ProvisionError(
            f"{path.name}, to {path.address} on {path.target}: {fault.reason}",
            fault.hint or "`provision verify INVENTORY` tells which connections work",
        ) from None


def _mtu(pods: BenchPods, runner: Runner) -> int:
    said = pods.ask(runner, _MTU, 1).strip()
    return int(said) if said.isdecimal() else 0


def _event(path: _Path, placement: Placement, throughput: Throughput, latency: Latency) -> PathMeasured:
    return PathMeasured(
        path=path.name,
        source=placement.here,
        target=path.target,
        throughput=throughput.bits_per_second,
        retransmits=throughput.retransmits,
        p50=latency.p50,
        p90=latency.p90,
        p99=latency.p99,
        count=latency.count,
    )
