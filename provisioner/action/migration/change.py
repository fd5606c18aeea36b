"""What a migration is to be: from which section to which, how, and how far an earlier run of it has come."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from provisioner.action.fixed import fixed_of
from provisioner.action.load import Loaded
from provisioner.action.migration.sections import (
    check_same_cluster,
    loaded_for,
    source_section,
    target_section,
)
from provisioner.action.transition import record_of, section_of
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.network.record import Migration, NetworkRecord, plugin_of
from provisioner.pki.cluster import Fixed
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

NODE_BY_NODE, AT_ONCE = "node-by-node", "all-at-once"
STRATEGIES = (NODE_BY_NODE, AT_ONCE)
TARGETS = ("calico", "flannel", "cilium")


@dataclass(frozen=True)
class Wanted:
    """What the user asked for. `to` is a plug-in, "" with `rollback`."""

    to: str = ""
    rollback: bool = False
    strategy: str = ""
    only_told: bool = False


@dataclass(frozen=True)
class Change:
    """`source` and `target` are the inventory with either network. `record` is what control planes remember by now."""

    source: Loaded
    target: Loaded
    migration: Migration
    record: NetworkRecord
    begun: bool

    @property
    def old(self) -> ClusterSpec:
        return self.source.cluster

    @property
    def new(self) -> ClusterSpec:
        return self.target.cluster

    @property
    def fresh(self) -> bool:
        """No migration has begun yet: neither this one nor one that it takes back."""
        return self.record.migration is None

    @property
    def within(self) -> bool:
        """The plug-in stays."""
        return self.old.network.plugin == self.new.network.plugin

    @property
    def all_at_once(self) -> bool:
        return self.migration.strategy == AT_ONCE

    def recorded(self, migration: Migration | None) -> NetworkRecord:
        """While it lasts, or, with None, from its end on."""
        if migration is not None:
            return replace(self.record, migration=migration)
        # The same command, given once more, is not to lead there again.
        before = None if self.migration.back else self.migration.source
        return NetworkRecord(now=self.migration.target, before=before)


def change_of(loaded: Loaded, facts: Mapping[str, Facts], fixed: Fixed, wanted: Wanted) -> Change | None:
    """None where there is nothing to do. Raises InputError and ProvisionError for what cannot be migrated."""
    record = record_of(facts, loaded.inventory)
    migration = _back(record, wanted) if wanted.rollback else _forth(loaded, record, fixed, wanted)
    if migration is None:
        return None
    begun = record.migration is not None and record.migration.id == migration.id
    source, target = loaded_for(loaded, migration.source), loaded_for(loaded, migration.target)
    change = Change(source, target, migration, record, begun)
    check_same_cluster(change.old, change.new, loaded.inventory)
    return change


def _forth(loaded: Loaded, record: NetworkRecord, fixed: Fixed, wanted: Wanted) -> Migration | None:
    begun = record.migration
    source = begun.source if begun else source_section(record, loaded, fixed)
    target = target_section(section_of(loaded.inventory), wanted.to, source)
    if begun is not None:
        if begun.back or plugin_of(begun.target) != wanted.to:
            there = "--rollback" if begun.back else f"--to {plugin_of(begun.target)}"
            raise ProvisionError(
                "another migration has begun and has not ended",
                f"`provision migrate {loaded.request.inventory} {there}` goes on with it"
                + ("" if begun.back else ", --rollback takes it back"),
            )
        return replace(begun, strategy=wanted.strategy or begun.strategy)
    before, after = (fixed_of_section(loaded, each) for each in (source, target))
    if before == after:
        return None
    return Migration(secrets.token_hex(4), source, target, wanted.strategy or NODE_BY_NODE)


def _back(record: NetworkRecord, wanted: Wanted) -> Migration | None:
    begun = record.migration
    if begun is not None:
        if begun.back:
            return replace(begun, strategy=wanted.strategy or begun.strategy)
        back = begun.reversed(secrets.token_hex(4))
        return replace(back, strategy=wanted.strategy or back.strategy)
    if record.before is None or record.now is None:
        return None
    return Migration(
        secrets.token_hex(4), record.now, record.before, wanted.strategy or NODE_BY_NODE, back=True
    )


def fixed_of_section(loaded: Loaded, section: Mapping[str, object]) -> Fixed:
    """What is fixed of a cluster with that section."""
    return fixed_of(loaded_for(loaded, section).cluster)


def check_target(loaded: Loaded, wanted: Wanted) -> None:
    """Raises InputError where the inventory describes what this version cannot migrate to, or from."""
    if not wanted.rollback and loaded.spec is not None and loaded.spec.network.plugin == "canal":
        place = loaded.inventory.origin(None, "cluster", "network", "plugin")
        raise InputError(
            [
                Problem(
                    *place,
                    "plugin: canal is neither migrated to nor from",
                    "write the plug-in that the cluster has, flannel or calico (`provision status` tells)",
                )
            ]
        )
