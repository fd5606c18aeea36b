"""A pod network on its way to another one: what a run of `migrate` has the cluster be for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionError
from provisioner.network.record import NetworkRecord, Section, agreed_record, parse_record, plugin_of
from provisioner.playbook.facts import Facts

if TYPE_CHECKING:
    from provisioner.engine.plan import Desired
    from provisioner.inventory.model import Inventory
    from provisioner.spec.model import ClusterSpec

Objects = list[dict[str, Any]]


def unadjusted(objects: Objects) -> Objects:
    """As they are."""
    return objects


@dataclass(frozen=True)
class Transition:
    """`record` is what control planes are to remember. `beside` is the cluster with the other network, where that is
    to be there as well. `adjust` changes the network's own objects. `settled`: what is fixed of the network is the
    spec's from now on. `lenient`: gates that warn where they do not hold."""

    record: NetworkRecord
    beside: ClusterSpec | None = None
    adjust: Callable[[Objects], Objects] = unadjusted
    settled: bool = False
    lenient: frozenset[str] = frozenset()


def few(count: int) -> int:
    """How many of `count` hosts are at work at the same time, while losses are measured: where they share a machine's
    cores, all at once keep the pods waiting that exchange requests. Many of them have up to ten turns."""
    return -(-count // 10)


def gently(stage: Desired) -> Desired:
    """With `few` hosts at a time, where no gate would be asked after each turn, and the playbook has no sizes."""
    if stage.gate or stage.serial or not stage.hosts:
        return stage
    return replace(
        stage, serial=(few(len(stage.hosts)),), needs=None
    )  # each stage waits, so nobody goes ahead


def section_of(inventory: Inventory) -> Section:
    """`cluster.network` as the inventory has it."""
    cluster = inventory.variables.get("cluster")
    written = cluster.get("network", {}) if isinstance(cluster, Mapping) else {}
    return _plain(written)  # type: ignore[no-any-return]  # a mapping stays one


def record_of(facts: Mapping[str, Facts], inventory: Inventory) -> NetworkRecord:
    """What the control planes remember. Raises ProvisionError for a damaged file."""
    planes = {host.name for host in inventory.group("kube_control_plane")}
    return agreed_record({host: each.network_record for host, each in facts.items() if host in planes})


def last_record(facts: Mapping[str, Facts]) -> NetworkRecord:
    """What any host remembers, of a cluster that ends: copies that cannot be read are passed over."""
    readable = {}
    for host, each in facts.items():
        with suppress(ProvisionError):
            parse_record(each.network_record, host)
            readable[host] = each.network_record
    return agreed_record(readable)


def applied(record: NetworkRecord, section: Section) -> NetworkRecord:
    """After a run that applies `section`."""
    return replace(record, now=section)


def check_none_begun(record: NetworkRecord, inventory: str) -> None:
    """Raises ProvisionError while a migration waits for its end: what a plain run wants would cut it short."""
    migration = record.migration
    if migration is None:
        return
    plugin = plugin_of(migration.target)
    if migration.back:
        way, goes_on = "back to", f"`provision migrate {inventory} --rollback` goes on with it"
    else:
        goes_on = f"`provision migrate {inventory} --to {plugin}` goes on with it, --rollback takes it back"
        way = "to"
    raise ProvisionError(
        f"a migration of the pod network {way} {plugin} has begun and has not ended", goes_on
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)
