"""Pods that run keep the MTU that they began with; whoever changes it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_tuning import CALICO, load, nodes

from provisioner.action.tuning import check_tuning
from provisioner.engine.events import Event, Note
from provisioner.network.podlinks import outdated_links
from provisioner.playbook.facts import Facts

CILIUM = "plugin: cilium"


def running(found: dict[str, Facts], **links: int) -> dict[str, Facts]:
    """worker1 and worker2 are at work, with these links beside what they have."""
    return {
        name: replace(each, kubelet_certificate="x", mtus={**each.mtus, **links}) if name != "cp1" else each
        for name, each in found.items()
    }


@pytest.mark.parametrize(
    ("network", "links", "told"),
    [
        ("", {"veth1": 1450}, ""),
        ("", {"veth1": 1450, "veth2": 1480}, "1480 that they began with, new ones get 1450"),
        ("", {"cali1": 1480}, ""),
        ("flannel: {mtu: 1400}", {"veth1": 1450}, "1450 that they began with, new ones get 1350"),
        (CALICO, {"cali1": 1450}, ""),
        (
            f"{CALICO}\n        calico: {{wireguard: true}}",
            {"cali1": 1450},
            "1450 that they began with, new ones get 1440",
        ),
        (CILIUM, {"lxc1": 1500}, ""),
    ],
)
def test_pods_with_another_mtu_than_new_ones_are_told_of(
    tmp_path: Path, network: str, links: dict[str, int], told: str
) -> None:
    inventory, spec = load(tmp_path, network)
    found = running(nodes(spec), **links)
    said: list[Event] = []
    check_tuning(spec, found, inventory, said.append)
    notes = [each for each in said if isinstance(each, Note)]
    assert [each.message for each in notes] == (
        [f"worker1, worker2: pods keep the MTU {told}"] if told else []
    )
    assert all("kubectl rollout restart" in each.hint for each in notes)
    bare = {name: replace(each, kubelet_certificate="") for name, each in found.items()}
    assert list(outdated_links(spec, bare)) == [], "nothing is known of what runs there"
