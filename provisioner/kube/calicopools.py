"""Calico's pools that go: first nobody gets an address of them any more, and once no pod has one they are deleted, with
the blocks that nodes had of them (Calico, docs, networking/ipam/migrate-pools)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.worklock import locked

_GROUP = "crd.projectcalico.org"
_BLOCKS, _AFFINITIES, _POOLS = (f"{each}.{_GROUP}" for each in ("ipamblocks", "blockaffinities", "ippools"))


def closed(pools: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pools' objects, such that nobody gets an address of them."""
    return [{**each, "spec": {**each["spec"], "disabled": True}} for each in pools]


def blocks_in(runner: Runner, cidrs: Sequence[str]) -> list[str]:
    """Blocks that nodes have inside `cidrs`. Raises ProvisionError when the API server does not answer."""
    found = ask(runner, f"{KUBECTL} get {_BLOCKS} -o jsonpath='{{.items[*].spec.cidr}}'\n").decode().split()
    return [each for each in found if _inside(each, cidrs)]


def delete_pools(runner: Runner, names: Sequence[str], cidrs: Sequence[str], kept: Sequence[str]) -> None:
    """Deletes the pools, and the blocks in their `cidrs` that are in none of those that are `kept`. Raises
    ProvisionError naming blocks of which an address is still in use."""
    blocks = json.loads(ask(runner, f"{KUBECTL} get {_BLOCKS} -o json\n"))["items"]
    going = [
        each
        for each in blocks
        if _inside(each["spec"]["cidr"], cidrs) and not _inside(each["spec"]["cidr"], kept)
    ]
    used = [
        each["spec"]["cidr"]
        for each in going
        if any(item is not None for item in each["spec"]["allocations"])
    ]
    pools = " ".join(map(quote, names))
    lines = [f"{KUBECTL} delete {_POOLS} {pools} --ignore-not-found >/dev/null"] if names else []
    free = {each["spec"]["cidr"] for each in going} - set(used)
    affinities = json.loads(ask(runner, f"{KUBECTL} get {_AFFINITIES} -o json\n"))["items"]
    for kind, items in ((_AFFINITIES, affinities), (_BLOCKS, going)):
        gone = [each["metadata"]["name"] for each in items if each["spec"]["cidr"] in free]
        if gone:
            lines.append(
                f"{KUBECTL} delete {kind} {' '.join(map(quote, gone))} --ignore-not-found >/dev/null"
            )
    if lines:
        ask(runner, locked("\n".join(["set -e", *lines])) + "\n")
    if used:
        raise ProvisionError(
            f"addresses are still in use in blocks of a pool that is gone: {', '.join(used)}",
            "`/opt/kubernetes/bin/calicoctl ipam check --show-all-ips` on a control plane says by whom",
        )


def _inside(cidr: str, wholes: Iterable[str]) -> bool:
    network = ipaddress.ip_network(cidr)
    return any(
        network.version == whole.version and network.subnet_of(whole)  # type: ignore[arg-type]  # one version
        for whole in map(ipaddress.ip_network, wholes)
    )
