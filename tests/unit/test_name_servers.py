"""Whom DNS pods would ask is known from their nodes' facts, and a loop is refused before anything changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.nameservers import check_name_servers
from provisioner.engine.events import Event, Note
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
GOOD = ("192.0.2.53",)
OWN = "in the DNS pods that is they themselves, and they end"


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def hosts(spec: ClusterSpec, file: str = "/etc/resolv.conf", **servers: tuple[str, ...]) -> dict[str, Facts]:
    bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0", resolver=file)
    return {name: replace(bare, nameservers=servers.get(name, GOOD)) for name in spec.nodes}


def asking(spec: ClusterSpec, *upstreams: str) -> ClusterSpec:
    return replace(spec, dns=replace(spec.dns, upstreams=upstreams))


def told(spec: ClusterSpec, facts: dict[str, Facts]) -> list[Event]:
    events: list[Event] = []
    check_name_servers(spec, facts, events.append)
    return events


@pytest.mark.parametrize(
    ("servers", "file", "reason"),
    [
        (("127.0.0.1",), "/etc/resolv.conf", f"worker1: its /etc/resolv.conf names 127.0.0.1 alone: {OWN}"),
        (
            ("127.0.0.53", "::1"),
            "/run/systemd/resolve/resolv.conf",
            f"worker1: its /run/systemd/resolve/resolv.conf names 127.0.0.53, ::1 alone: {OWN}",
        ),
        (
            (),
            "/etc/resolv.conf",
            "worker1: its /etc/resolv.conf names no name server, and without one the DNS pods do not start",
        ),
        (
            ("192.0.2.53", "10.96.0.10"),
            "/etc/resolv.conf",
            "worker1: its /etc/resolv.conf names the cluster's own DNS service, 10.96.0.10, which would ask itself",
        ),
    ],
)
def test_a_loop_is_refused_with_the_remedy(
    lab: ClusterSpec, servers: tuple[str, ...], file: str, reason: str
) -> None:
    with pytest.raises(ProvisionError) as caught:
        told(lab, hosts(lab, file, worker1=servers))
    assert caught.value.reason == reason
    assert "cluster.dns.upstreams" in caught.value.hint
    assert told(asking(lab, "10.1.1.1"), hosts(lab, file, worker1=servers)) == [], "nobody reads the file"
    assert told(asking(lab), hosts(lab, file, worker1=servers)) == []


def test_every_node_is_named_and_others_are_not(lab: ClusterSpec) -> None:
    own = ("127.0.0.1",)
    with pytest.raises(ProvisionError) as caught:
        told(lab, hosts(lab, cp1=own, worker2=own, registry1=own))
    assert [line.partition(":")[0] for line in caught.value.reason.splitlines()] == ["cp1", "worker2"]


def test_a_server_of_its_own_among_others_is_told(lab: ClusterSpec) -> None:
    mixed = hosts(lab, worker1=("192.0.2.53", "127.0.0.1"))
    (note,) = told(lab, mixed)
    assert isinstance(note, Note)
    assert (note.level, note.message) == (
        "warning",
        "worker1: 127.0.0.1 in its /etc/resolv.conf is, in the DNS pods, they themselves",
    )
    assert told(lab, hosts(lab)) == []


def test_beside_another_server_a_file_may_be_empty(lab: ClusterSpec) -> None:
    both = asking(lab, "/etc/resolv.conf", "10.1.1.1")
    assert told(both, hosts(lab, worker1=())) == []
    assert len(told(both, hosts(lab, worker1=("127.0.0.1",)))) == 1
