"""From an inventory and what is remembered to what a migration is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from migrations import CALICO, COMMON, FLANNEL, loaded, node_facts

from provisioner.action.fixed import fixed_of
from provisioner.action.migration.change import Change, Wanted, change_of
from provisioner.action.migration.run import nothing_to_do
from provisioner.action.migration.sections import target_section, yaml_of
from provisioner.action.transition import check_none_begun
from provisioner.errors import InputError, ProvisionError
from provisioner.network.record import Migration, NetworkRecord

HALF = [{"name": "pods-second", "cidr": "10.244.128.0/17"}]
BARE = {**COMMON, "plugin": "calico"}
SIX = {"pod_cidrs": ["10.244.0.0/16", "fd00:244::/56"]}
FORTH = Migration("aa", FLANNEL, CALICO, "node-by-node")


@pytest.mark.parametrize(
    ("written", "plugin", "current", "section"),
    [
        ({}, "calico", {}, {"plugin": "calico", "calico": {"pools": HALF}}),
        (FLANNEL, "calico", FLANNEL, CALICO),
        (CALICO, "calico", FLANNEL, CALICO),
        (BARE, "calico", FLANNEL, CALICO),
        (FLANNEL, "calico", CALICO, CALICO),  # it has come there, and the inventory does not say so yet
        (BARE, "calico", CALICO, CALICO),
        (CALICO, "calico", BARE, CALICO),
        (BARE, "calico", BARE, BARE),
        (CALICO, "flannel", CALICO, FLANNEL),  # what is said of the others goes
        (
            {**FLANNEL, "flannel": {"backend": "host-gw"}, "calico": {"mtu": 1400}},
            "calico",
            FLANNEL,
            {**BARE, "calico": {"mtu": 1400, "pools": HALF}},
        ),
        (
            {**SIX, "plugin": "flannel"},
            "calico",
            {**SIX, "plugin": "flannel"},
            {
                **SIX,
                "plugin": "calico",
                "calico": {"pools": [*HALF, {"name": "pods-second-ipv6", "cidr": "fd00:244:0:80::/57"}]},
            },
        ),
    ],
)
def test_the_section_to_come(
    written: dict[str, Any], plugin: str, current: dict[str, Any], section: dict[str, Any]
) -> None:
    assert target_section(written, plugin, current) == section


def found(
    written: dict[str, Any], record: NetworkRecord, wanted: Wanted, runs: dict[str, Any] | None = None
) -> Change | None:
    """`runs` is the section that the cluster's own state knows of, by default what is written."""
    facts = node_facts()
    facts["cp1"] = replace(facts["cp1"], network_record=record.to_json())
    return change_of(loaded(written), facts, fixed_of(loaded(runs or written).cluster), wanted)


@pytest.mark.parametrize(
    ("written", "record", "wanted", "ends"),
    [
        # What was never recorded is as the inventory has it.
        (FLANNEL, NetworkRecord(), Wanted("calico"), (FLANNEL, CALICO, False)),
        (CALICO, NetworkRecord(now=FLANNEL), Wanted("calico"), (FLANNEL, CALICO, False)),
        (FLANNEL, NetworkRecord(now=CALICO), Wanted("calico"), None),
        (CALICO, NetworkRecord(now=CALICO), Wanted("calico"), None),
        (FLANNEL, NetworkRecord(now=FLANNEL), Wanted(rollback=True), None),
        (FLANNEL, NetworkRecord(now=FLANNEL, migration=FORTH), Wanted("calico"), (FLANNEL, CALICO, True)),
        (
            FLANNEL,
            NetworkRecord(now=FLANNEL, migration=FORTH),
            Wanted(rollback=True),
            (CALICO, FLANNEL, False),
        ),
        (FLANNEL, NetworkRecord(now=CALICO, before=FLANNEL), Wanted(rollback=True), (CALICO, FLANNEL, False)),
        (
            FLANNEL,
            NetworkRecord(now=FLANNEL, migration=FORTH.reversed("bb")),
            Wanted(rollback=True),
            (CALICO, FLANNEL, True),
        ),
    ],
)
def test_what_a_migration_leads_from_and_to(
    written: dict[str, Any],
    record: NetworkRecord,
    wanted: Wanted,
    ends: tuple[dict[str, Any], dict[str, Any], bool] | None,
) -> None:
    change = found(written, record, wanted)
    assert (change and (change.migration.source, change.migration.target, change.begun)) == ends
    if change is not None and ends is not None:
        assert (change.old.network.plugin, change.new.network.plugin) == (
            ends[0]["plugin"],
            ends[1]["plugin"],
        )
        assert change.migration.back is wanted.rollback
        ended = change.recorded(None)
        # What was taken back is not to be taken back once more.
        before = None if wanted.rollback else ends[0]
        assert (ended.now, ended.before, ended.migration) == (ends[1], before, None)


def test_a_run_that_goes_on_may_choose_another_strategy() -> None:
    record = NetworkRecord(now=FLANNEL, migration=FORTH)
    for strategy, then in (("", "node-by-node"), ("all-at-once", "all-at-once")):
        change = found(FLANNEL, record, Wanted("calico", strategy=strategy))
        assert change is not None
        assert (change.migration.id, change.migration.strategy) == ("aa", then)


@pytest.mark.parametrize(
    ("written", "record", "wanted", "runs", "error", "reason"),
    [
        (
            FLANNEL,
            NetworkRecord(now=FLANNEL, migration=FORTH),
            Wanted("flannel"),
            None,
            ProvisionError,
            "another migration has begun",
        ),
        (
            FLANNEL,
            NetworkRecord(now=FLANNEL, migration=FORTH.reversed("bb")),
            Wanted("calico"),
            None,
            ProvisionError,
            "another migration has begun",
        ),
        (
            CALICO,
            NetworkRecord(),
            Wanted("calico"),
            FLANNEL,
            InputError,
            "the cluster runs with flannel, and how that",
        ),
        (
            {**CALICO, "pod_cidrs": ["10.244.0.0/15"]},
            NetworkRecord(now=FLANNEL),
            Wanted("calico"),
            None,
            InputError,
            "pod_cidrs: the cluster has 10.244.0.0/16, which a migration leaves as it is",
        ),
    ],
)
def test_what_is_no_migration(
    written: dict[str, Any],
    record: NetworkRecord,
    wanted: Wanted,
    runs: dict[str, Any] | None,
    error: type[ProvisionError],
    reason: str,
) -> None:
    with pytest.raises(error) as caught:
        found(written, record, wanted, runs)
    assert reason in caught.value.reason


def test_where_the_cluster_has_come_already_the_inventory_is_told_what_to_say() -> None:
    there = [*nothing_to_do(loaded(FLANNEL), Wanted("calico"), CALICO)]
    assert "the inventory does not say so yet" in there[0]
    assert yaml_of(CALICO) in there[1]
    as_it_has_it = ["nothing to migrate: the pod network is calico already, as the inventory has it"]
    assert [*nothing_to_do(loaded(CALICO), Wanted("calico"), CALICO)] == as_it_has_it
    assert "no migration on record" in next(nothing_to_do(loaded(CALICO), Wanted(rollback=True), CALICO))
    # What a plain apply changes is the user's to say.
    edited = {**CALICO, "policies": [{"name": "deny", "kind": "deny", "namespaces": ["shop"]}]}
    assert [*nothing_to_do(loaded(edited), Wanted("calico"), CALICO)] == as_it_has_it
    without_pools = {**edited, "calico": {}}
    added = [*nothing_to_do(loaded(without_pools), Wanted("calico"), CALICO)][1]
    assert "pods-second" in added
    assert "deny" in added


@pytest.mark.parametrize(
    ("migration", "words", "way"),
    [
        (
            FORTH,
            "flannel on its way to calico",
            "`provision migrate i.yaml --to calico` goes on with it, --rollback",
        ),
        (
            FORTH.reversed("bb"),
            "calico on its way to flannel",
            "`provision migrate i.yaml --rollback` goes on",
        ),
        (replace(FORTH, target={}), "flannel on its way to other settings", "--to flannel` goes on"),
    ],
)
def test_a_migration_that_waits_for_its_end_is_told_of(migration: Migration, words: str, way: str) -> None:
    record = NetworkRecord(now=migration.source, migration=migration)
    assert record.words == words
    with pytest.raises(ProvisionError) as caught:
        check_none_begun(record, "i.yaml")
    assert way in caught.value.hint
    assert ("back to" in caught.value.reason) == migration.back


def test_a_cluster_without_a_migration_has_its_plug_in() -> None:
    assert NetworkRecord(now=CALICO).words == "calico"
    assert NetworkRecord(now={}).words == "flannel"
    assert not NetworkRecord().words
    check_none_begun(NetworkRecord(now=CALICO), "i.yaml")
