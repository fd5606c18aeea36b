"""From what an inventory says of the pod network, and what control planes remember, to the two clusters that a
migration leads from and to: alike but for their section `network`."""

from __future__ import annotations

import ipaddress
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.action.fixed import fixed_of
from provisioner.action.load import Loaded
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.network.record import NetworkRecord, Section, plugin_of, pod_cidrs_of
from provisioner.pki.cluster import Fixed
from provisioner.spec.load import load_spec
from provisioner.spec.model import ClusterSpec
from provisioner.spec.versions import PLUGINS

_POOLS = ("pods-second", "pods-second-ipv6")


def spec_of(inventory: Inventory, section: Section) -> ClusterSpec:
    """The inventory's cluster with another section `network`. Raises InputError with every fault in it."""
    cluster = {**inventory.variables["cluster"], "network": dict(section)}
    variables: Mapping[str, Any] = ChainMap({"cluster": cluster}, inventory.variables)  # type: ignore[arg-type]
    return load_spec(replace(inventory, variables=variables))


def loaded_for(loaded: Loaded, section: Section) -> Loaded:
    """`loaded` as if the inventory had the section."""
    cluster = {**loaded.inventory.variables["cluster"], "network": dict(section)}
    variables: Mapping[str, Any] = ChainMap({"cluster": cluster}, loaded.inventory.variables)  # type: ignore[arg-type]
    inventory = replace(loaded.inventory, variables=variables)
    return replace(loaded, inventory=inventory, spec=load_spec(inventory))


def target_section(written: Section, plugin: str, current: Section) -> Section:
    """The section to come: what is written, with `plugin` for its plug-in, and what is said of others left out. Calico
    beside another plug-in gets a pool of its own, where none is written: the second half of the pod CIDRs, of which
    nodes have parts from the beginning of the first."""
    section = {
        key: each for key, each in written.items() if key not in PLUGINS or key in _sections_of(plugin)
    }
    section["plugin"] = plugin
    if plugin_of(current) == plugin != plugin_of(written):
        return current  # it has come there already, and the inventory does not say so yet
    own = dict(section.get("calico") or {})
    if plugin == "calico" and not own.get("pools") and not own.get("policy_only"):
        there = dict(current.get("calico") or {}).get("pools") if plugin_of(current) == "calico" else None
        if there or plugin_of(current) != "calico":
            section["calico"] = {**own, "pools": there or _second_halves(section)}
    return section


def _sections_of(plugin: str) -> tuple[str, ...]:
    return ("flannel", "calico") if plugin == "canal" else (plugin,)


def _second_halves(section: Section) -> list[dict[str, str]]:
    networks = [ipaddress.ip_network(each) for each in pod_cidrs_of(section)]
    return [
        {"name": _POOLS[each.version == 6], "cidr": str(list(each.subnets(prefixlen_diff=1))[1])}
        for each in networks
    ]


def source_section(record: NetworkRecord, loaded: Loaded, fixed: Fixed) -> Section:
    """The section that the cluster runs with. Raises InputError where nobody knows it: an older version applied it, and
    the inventory says something else by now."""
    if record.now is not None:
        return record.now
    from provisioner.action.transition import section_of

    if loaded.spec is not None and all(
        fixed.get(name, each) == each for name, each in fixed_of(loaded.spec).items()
    ):
        return section_of(loaded.inventory)
    place = loaded.inventory.origin(None, "cluster", "network")
    reason = f"network: the cluster runs with {fixed.get('plugin')}, and how that was set up is not on record"
    hint = "write the section as it was, run `provision apply` once, which records it, then change it and migrate"
    raise InputError([Problem(*place, reason, hint)])


def check_same_cluster(source: ClusterSpec, target: ClusterSpec, inventory: Inventory) -> None:
    """What a migration does not change. Raises InputError."""
    problems = []
    for key in ("pod_cidrs", "service_cidrs", "node_cidr_mask", "node_cidr_mask_ipv6"):
        has, wanted = getattr(source.network, key), getattr(target.network, key)
        if has != wanted:
            said = ", ".join(map(str, has)) if isinstance(has, tuple) else str(has)
            place = inventory.origin(None, "cluster", "network", key)
            reason = f"{key}: the cluster has {said}, which a migration leaves as it is"
            problems.append(Problem(*place, reason, f"write {said} again"))
    if problems:
        raise InputError(problems)
    for which in (source, target):
        if which.network.attachments or which.network.multus is not None:
            raise ProvisionError(
                "multus hands pods on to the plug-in that it found when it started, and would not follow a migration",
                "take pods with attachments, network.attachments and multus out first, apply that, and migrate then",
            )


def yaml_of(section: Section) -> str:
    """The section as one may paste it into an inventory, below `cluster:`."""
    import yaml

    return yaml.safe_dump({"network": dict(section)}, sort_keys=False, default_flow_style=None, width=110)
