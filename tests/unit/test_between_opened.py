"""What hosts' firewalls drop until a run opens them: not tried before, and once they are open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from test_firewall import STRICT, facts

from provisioner.action.between import Between
from provisioner.action.gates import _firewall_open
from provisioner.action.losses import unsent
from provisioner.action.prepare import Prepared
from provisioner.engine.events import Event, Note
from provisioner.engine.plan import Desired
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.resources.model import Absent, Resource
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ha() -> tuple[Inventory, ClusterSpec]:
    return load_cluster(ROOT / "inventories/ha.yaml")


def test_what_the_run_opens_is_tried_once_it_is_open_and_named_before(
    ha: tuple[Inventory, ClusterSpec],
) -> None:
    """Each pair by itself: of those who come the nodes that are there do not know yet."""
    inventory, spec = ha
    spec = replace(spec, firewall="manage", network=Network())
    nodes = [name for name, node in spec.nodes.items() if node.node]
    newcomer, *others = sorted(nodes, reverse=True)
    known_to_all = ", ".join(spec.nodes[each].address for each in others)

    def tried(rule: str) -> tuple[set[tuple[str, str]], list[str]]:
        walled = facts(firewall="nftables", filters=STRICT % rule)
        known = {name: walled if name in nodes else facts() for name in inventory.hosts}
        check = Between(inventory, spec, known, list(inventory.hosts))
        said = unsent(check._shut, check.packets, known)
        return {(e.sender, e.receiver) for e in check.packets if e.what == "UDP 8472"}, said

    pairs, said = tried("tcp dport { 2379-2380, 6443, 10250 } accept")
    assert pairs == set()
    (line,) = said
    assert line.startswith("not tried: UDP 8472 from any other host to ")
    assert line.endswith(", which nftables drops there until a run opens it")
    assert all(each in line for each in nodes[:6])

    pairs, said = tried(
        f"meta l4proto tcp accept\n\t\tip daddr 10.244.0.0/16 accept\n\t\t"
        f"ip saddr {{ {known_to_all} }} udp dport 8472 accept"
    )
    assert {sender for sender, _ in pairs} == set(others)
    assert {receiver for _, receiver in pairs} == set(nodes)
    (line,) = said
    assert f"UDP 8472 from {newcomer} to " in line
    assert all(f"{each}," in line for each in sorted(others)[:6])
    assert tried("meta l4proto { tcp, udp } accept")[1] == []


def test_what_the_run_has_opened_is_all_that_was_not_tried(ha: tuple[Inventory, ClusterSpec]) -> None:
    """Also where nobody joins: another network has other ports. Not on hosts that the run leaves out."""
    inventory, spec = ha
    spec = replace(spec, firewall="manage", network=Network())
    walled = facts(firewall="nftables", filters=STRICT % "meta l4proto tcp accept", mtus={"eth0": 1500})
    known = {
        name: replace(
            walled if name.startswith("worker") else facts(), addresses={"eth0": (f"{node.address}/24",)}
        )
        for name, node in spec.nodes.items()
    }
    before = Between(inventory, spec, known, list(known))
    after = Between(inventory, spec, known, [], opened=["worker1", "worker2"])
    assert {each.what for each in after.packets} == {"UDP 8472"}
    assert {each.receiver for each in after.packets} == {"worker1", "worker2"}
    assert [each for each in after.packets if not each.size] == [
        each for each in before._shut if each.receiver in ("worker1", "worker2")
    ]
    assert {each.size for each in after.packets if each.sender.startswith("worker")} == {0, 1500}
    assert not after._shut
    assert Between(inventory, replace(spec, firewall="check"), known, [], opened=["worker1"]).packets == []


def test_the_gate_asks_where_the_run_opens_something(ha: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = ha
    walled = facts(firewall="nftables", filters=STRICT % "tcp dport 22 accept")
    unit = Resource("systemd", "provision-firewall.service", Absent())

    def asks(*hosts: str, known: Facts = walled, **changed: Any) -> bool:
        loaded = SimpleNamespace(inventory=inventory, spec=replace(spec, **{"firewall": "manage", **changed}))
        stages = (Desired("firewall", dict.fromkeys(hosts, (unit,)), gate="firewall_open"),)
        prepared = SimpleNamespace(loaded=loaded, facts=dict.fromkeys(inventory.hosts, known), desired=stages)
        return _firewall_open(cast("Prepared", prepared), cast("Pool", None), lambda _: None) is not None

    assert asks("worker1")
    assert not asks(), "a run of other stages, or no firewall"
    assert not asks("worker1", known=facts(firewall="nftables", filters=STRICT % "accept"))
    assert not asks("worker1", existing=object())


def test_a_run_says_what_it_does_not_try(ha: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = ha
    walled = facts(firewall="nftables", filters=STRICT % "tcp dport 22 accept")
    known = dict.fromkeys(inventory.hosts, walled)
    for firewall, count in (("manage", 1), ("check", 0)):
        check = Between(inventory, replace(spec, firewall=firewall), known, list(known))
        events: list[Event] = []
        check.run(cast("Pool", None), events.append)
        notes = [each for each in events if isinstance(each, Note) and each.level == "warning"]
        assert bool(notes) is bool(count), "the other is refused with the ports by name"
        assert all("once it has opened" in each.hint for each in notes)
