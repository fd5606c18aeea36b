"""Changes inside one plug-in that its makers, or an apply, do not allow at run time."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from provisioner.action.families import written_addresses
from provisioner.action.migration.beside import check_moved, cleaned, ended, judged, moved, note_down, settled
from provisioner.action.migration.change import NODE_BY_NODE, Change
from provisioner.action.migration.checks import check_static
from provisioner.action.migration.hosts import each
from provisioner.action.migration.proof import check_all
from provisioner.action.migration.running import Run
from provisioner.action.transition import Transition
from provisioner.engine.events import Note
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.kube.bridgeroutes import blocks_of, bridge_script, handed_over_script, unbridge_script
from provisioner.kube.calicopools import blocks_in, closed, delete_pools
from provisioner.kube.remains import (
    backend_remains_script,
    clean_backend_script,
    clean_vni_script,
    vni_remains_script,
)
from provisioner.kube.workloads import read_workloads
from provisioner.network.calicoresources import pool_object
from provisioner.shell.script import Script
from provisioner.spec.calico import IPPool
from provisioner.spec.model import ClusterSpec

Objects = list[dict[str, Any]]
_CARRIED = {"bird": "BGP", "vxlan": "VXLAN"}
"""Back ends of Calico, as people call them."""
_POOL = "IPPool"
_BIRD_READY = ("-bird-ready", "-bird6-ready")
"""What calico-node's readiness asks of BGP (Calico 3.28, node/cmd/calico-node)."""
_PLAIN = ("None", "IPIPCrossSubnet")
"""Encapsulations of pools whose packets go as they are inside one subnet."""


def go_within(run: Run) -> int:
    """The exit code. Raises ProvisionError of the step that failed; done again, each step finds its work done."""
    with run.step("backup", run.change.old.network.plugin):
        note_down(run)
    steps = _of_flannel if run.change.new.network.plugin == "flannel" else _of_calico
    code = steps(run)
    if code == 0:
        ended(run)
    return code


def check_within(run: Run) -> None:
    """Raises InputError and ProvisionError for what this version cannot change, before anything is changed."""
    change = run.change
    network = change.new.network
    if network.plugin != "flannel" and (network.calico.operated or change.old.network.calico.operated):
        raise ProvisionError(
            "network.calico.install: what Calico's operator has made, it changes by itself or not at all",
            "leave install and the pools as they are",
        )
    if network.plugin == "flannel" and change.migration.strategy == NODE_BY_NODE and change.fresh:
        run.emit(
            Note(message="flannel's agents change together: those of one back end do not hear the others")
        )
    if network.plugin == "calico":
        _check_one_at_a_time(change)
        _check_pools(run)
        if leaving(change.old, change.new) and change.fresh:
            check_static(read_workloads(run.plane))


def _check_one_at_a_time(change: Change) -> None:
    """Pods of a pool that ends have no ways but those of the back end that it began with."""
    left, old, new = (
        leaving(change.old, change.new),
        change.old.network.calico.backend,
        change.new.network.calico.backend,
    )
    if left and old != new and change.fresh:
        place = change.target.inventory.origin(None, "cluster", "network", "calico")
        reason = (
            f"calico: the encapsulation goes from {_CARRIED[old]} to {_CARRIED[new]}, and pools end "
            f"({', '.join(each.name for each in left)}): both at a time cut pods off"
        )
        raise InputError(
            [
                Problem(
                    *place,
                    reason,
                    "migrate to the other encapsulation in the same pools first, then to the pools",
                )
            ]
        )


def _check_pools(run: Run) -> None:
    change = run.change
    left, names = leaving(change.old, change.new), {each.name for each in change.new.network.calico.pools}
    problems = []
    for index, pool in enumerate(change.new.network.calico.pools):
        place = change.target.inventory.origin(None, "cluster", "network", "calico", "pools", index)
        if any(pool.name == each.name for each in left):
            reason = (
                f"pools: {pool.name} is there with another CIDR or other blocks, which a pool keeps for ever"
            )
            problems.append(Problem(*place, reason, "give the new one another name, and a CIDR of its own"))
    going = [each for each in left if each.name not in names]
    coming = {each.cidr for each in change.new.network.calico.pools} - {
        each.cidr for each in change.old.network.calico.pools
    }
    taken = blocks_in(run.plane, sorted(coming)) if going and coming and change.fresh else []
    if taken:
        place = change.target.inventory.origin(None, "cluster", "network", "calico", "pools")
        reason = f"pools: nodes have blocks of the former pool in the new one: {', '.join(taken)}"
        problems.append(Problem(*place, reason, "choose a part of the pod CIDRs without blocks"))
    if problems:
        raise InputError(problems)


def _of_flannel(run: Run) -> int:
    """All agents at once: those of one back end do not know the ways of another one's."""
    old, new = run.change.old.network.flannel, run.change.new.network.flannel
    code = _carried(run, "agents", together)
    if code:
        return code
    if old.backend != new.backend:
        homes = read_workloads(run.plane).homes.values()
        cidrs = [str(network) for networks in homes for network in networks]
        _cleaned(
            run,
            old.backend,
            clean_backend_script("flannel", old.backend, pod_cidrs=cidrs),
            backend_remains_script("flannel", old.backend, pod_cidrs=cidrs),
        )
    elif old.backend == "vxlan" and old.vni != new.vni:
        _cleaned(run, old.backend, clean_vni_script(old.vni), vni_remains_script(old.vni))
    return settled(run, "settled")


def _cleaned(run: Run, what: str, clean: Script, look: Script) -> None:
    """What only the former settings, `what`, have left goes, and a second look proves it."""
    with run.step("cleaned", what):
        found = cleaned(run, what, clean, look)
    judged(run, found)


def _of_calico(run: Run) -> int:
    change = run.change
    if change.old.network.calico.backend == change.new.network.calico.backend:
        return _pools_moved(run) or settled(run, "settled")
    _bridge(run)
    code = _backend_first(run) or _pools_moved(run) or settled(run, "settled")
    if code == 0:
        _unbridge(run)
        if change.new.network.calico.backend == "vxlan":
            _bgp_cleaned(run)
    return code


def _bgp_cleaned(run: Run) -> None:
    """BIRD ends without taking its routes back, and of tunl0 nobody takes the address that no pool wants any more."""
    pools = run.change.old.network.calico.pools
    cidrs = [pool.cidr for pool in pools]
    for backend in ("bgp", *(["ipip"] if any("IPIP" in pool.encapsulation for pool in pools) else [])):
        _cleaned(
            run,
            backend,
            clean_backend_script("calico", backend, pod_cidrs=cidrs),
            backend_remains_script("calico", backend, pod_cidrs=cidrs),
        )


def _backend_first(run: Run) -> int:
    """The step after which agents can go over one by one, or pools."""
    old, new = run.change.old.network.calico, run.change.new.network.calico
    if new.backend == "vxlan":
        # While sessions are there nobody needs them any more: Felix writes the routes of VXLAN.
        return _carried(
            run, "encapsulation", lambda objects: with_tunnel(objects, new.pools, old.pools), of_old=True
        )
    # One by one: there are no sessions before the others have changed, too, and Felix' routes stay until then.
    return _carried(run, "agents", lambda objects: sessionless(with_tunnel(objects, old.pools, new.pools)))


def _bridge(run: Run) -> None:
    """Routes of ours, for when neither has its own."""
    addresses = {
        name: [each for each in written_addresses(node) if is_ip(each)]
        for name, node in run.change.new.nodes.items()
    }
    blocks = blocks_of(run.plane)
    with run.step("bridged"):
        for node in run.nodes:
            each(run.pool, [node], bridge_script(node, blocks, addresses), "routes cannot be added")
            run.tell([node], "routes", "to the others' pods, for meanwhile", "create")


def _unbridge(run: Run) -> None:
    blocks = blocks_of(run.plane) if run.change.new.network.calico.backend == "bird" else {}
    with run.step("bridge taken away"):
        if blocks:
            each(run.pool, run.nodes, handed_over_script(blocks), "routes of VXLAN do not go")
        each(run.pool, run.nodes, unbridge_script(), "our own routes do not go")
        run.tell(run.nodes, "routes", "no longer needed", "delete")


def _pools_moved(run: Run) -> int:
    """Pods get addresses of the pools that are to be, before those that are not go."""
    change = run.change
    left = leaving(change.old, change.new)
    if not left:
        return 0
    kept = closed(map(pool_object, left))
    code = _carried(run, "pools", lambda objects: [*objects, *kept])
    if code:
        return code
    moved(run)
    check_moved(run)
    check_all(run)
    with run.step("pools end", ", ".join(pool.name for pool in left)):
        delete_pools(
            run.plane,
            [
                pool.name
                for pool in left
                if pool.name not in {each.name for each in change.new.network.calico.pools}
            ],
            [pool.cidr for pool in left],
            [pool.cidr for pool in change.new.network.calico.pools],
        )
        run.tell([run.plane.host], f"pools:{', '.join(pool.name for pool in left)}", "deleted", "delete")
    return 0


def leaving(old: ClusterSpec, new: ClusterSpec) -> list[IPPool]:
    """Pools of the old network that the new one has not, or has with other blocks."""
    there = {(pool.name, pool.cidr, pool.block_size) for pool in new.network.calico.pools}
    return [pool for pool in old.network.calico.pools if (pool.name, pool.cidr, pool.block_size) not in there]


def _carried(run: Run, name: str, adjust: Callable[[Objects], Objects], *, of_old: bool = False) -> int:
    change = run.change
    # What does not carry is not to keep anybody in it.
    asked = {"traffic"} | ({"network_ready"} if of_old else set())
    lenient = frozenset(asked if change.migration.back else ())
    with run.step(name, change.new.network.plugin):
        transition = Transition(change.recorded(change.migration), adjust=adjust, lenient=lenient)
        return run.maker.make(run, transition, of_old=of_old)()


def together(objects: Objects) -> Objects:
    """With all pods of DaemonSets replaced at once, not one after the other."""
    return [_at_once(each) if each["kind"] == "DaemonSet" else each for each in objects]


def _at_once(item: dict[str, Any]) -> dict[str, Any]:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}
    return {**item, "spec": {**item["spec"], "updateStrategy": strategy}}


def sessionless(objects: Objects) -> Objects:
    """With agents that are ready without BGP's sessions."""
    return [_sessionless(each) if each["kind"] == "DaemonSet" else each for each in objects]


def _sessionless(item: dict[str, Any]) -> dict[str, Any]:
    copied = deepcopy(item)
    for container in copied["spec"]["template"]["spec"]["containers"]:
        probe = container.get("readinessProbe", {}).get("exec", {})
        if "command" in probe:
            probe["command"] = [each for each in probe["command"] if each not in _BIRD_READY]
    return copied


def with_tunnel(objects: Objects, tunnelled: tuple[IPPool, ...], others: tuple[IPPool, ...]) -> Objects:
    """With VXLAN for those pools of `others` that `tunnelled` have under the same name.

    Where the others need no tunnel inside one subnet, nobody uses it there meanwhile: Felix starts anew to make its end
    of it, or to take it away, and what came out of the others' ends until then would be lost.
    """
    plain = {pool.name for pool in others if pool.encapsulation in _PLAIN}
    names = {pool.name for pool in others}
    known = {
        pool.name: pool_object(
            replace(pool, encapsulation="VXLANCrossSubnet") if pool.name in plain else pool
        )
        for pool in tunnelled
        if pool.name in names
    }
    return [
        _encapsulated(each, known[each["metadata"]["name"]])
        if each["kind"] == _POOL and each["metadata"]["name"] in known
        else each
        for each in objects
    ]


def _encapsulated(item: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    keys = ("ipipMode", "vxlanMode")
    return {
        **item,
        "spec": {**item["spec"], **{key: other["spec"][key] for key in keys if key in other["spec"]}},
    }
