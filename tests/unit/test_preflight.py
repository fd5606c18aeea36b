"""What is refused from facts alone, before anything changes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from provisioner.action.preflight import check_hosts
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsread import _READ, parse_facts
from provisioner.spec.model import Ipvs, Proxy

GOOD: dict[str, Any] = {
    "architecture": "amd64",
    "kernel": "6.1.0",
    "hostname": "a",
    "os_id": "debian",
    "os_version": "12",
    "clock_skew": 0.4,
    "swap": False,
    "memory": 2_000_000,
    "addresses": {},
    "default_link": "eth0",
}
HOSTS = ("a", "b", "c")


def hosts(**changed: dict[str, Any]) -> dict[str, Facts]:
    return {
        name: Facts(**{**GOOD, "machine_id": name * 32, **changed.get(name, {})})
        for name in (*HOSTS, *changed)
    }


CASES: list[tuple[dict[str, dict[str, Any]], list[str], str]] = [
    ({"b": {"swap": True}}, ["b: swap is on"], "kubelet_allow_swap"),
    ({"b": {"clock_skew": -3600.0}}, ["b: its clock is 3600 s behind this machine's"], "chrony"),
    (
        {name: {"clock_skew": -90.0} for name in HOSTS},
        ["this machine's clock is 90 s ahead of most hosts'"],
        "chrony",
    ),
    ({"c": {"memory": 500_000}}, ["c: has 488 MiB of memory, a node needs 700"], ""),
    ({"d": {"kubelet_certificate": "x"}}, ["d: is a node of the cluster"], "kubectl drain"),
    ({"c": {"machine_id": "a" * 32}}, ["c: has the same /etc/machine-id as a"], "systemd-machine-id-setup"),
    (
        {"a": {"swap": True}, "c": {"swap": True, "memory": 1}},
        ["a: swap", "c: swap", "c: has 0 MiB"],
        "swapoff",
    ),
]


@pytest.mark.parametrize(("changed", "words", "hint"), CASES)
def test_each_fault_of_each_host_is_named_at_once(
    changed: dict[str, dict[str, Any]], words: list[str], hint: str
) -> None:
    with pytest.raises(ProvisionError) as caught:
        check_hosts(hosts(**changed), HOSTS, Proxy(), swap=False)
    lines = caught.value.reason.splitlines()
    assert len(lines) == len(words)
    assert all(line.startswith(word) for line, word in zip(lines, words, strict=True))
    assert hint in caught.value.hint


def test_hints_are_those_of_the_faults_and_no_others() -> None:
    """Whatever words a host's name has."""
    with pytest.raises(ProvisionError) as caught:
        check_hosts(hosts(**{"swap-clock": {"memory": 1}}), ["swap-clock"], Proxy(), swap=False)
    assert (caught.value.reason, caught.value.hint) == (
        "swap-clock: has 0 MiB of memory, a node needs 700",
        "",
    )


def test_good_hosts_pass_and_others_than_nodes_need_less() -> None:
    check_hosts(hosts(), HOSTS, Proxy(), swap=False)
    check_hosts(hosts(a={"swap": True}), HOSTS, Proxy(), swap=True)
    check_hosts(hosts(c={"swap": True, "memory": 1, "machine_id": "a" * 32}), ("a", "b"), Proxy(), swap=False)


IPVS = Proxy("ipvs")
MODES: list[tuple[Proxy, dict[str, Any], str]] = [
    (Proxy("nftables"), {"kernel": "5.10.0-28-amd64"}, "needs Linux 5.13, this host runs 5.10.0-28-amd64"),
    (Proxy("nftables"), {"kernel": "5.13.0"}, ""),
    (
        IPVS,
        {},
        "b: kube-proxy's mode ipvs needs ip_vs, ip_vs_rr, nf_conntrack, which the kernel 6.1.0 has not",
    ),
    (IPVS, {"modules": ("ip_vs", "ip_vs_rr", "nf_conntrack")}, ""),
    (IPVS, {"modules": ("ip_vs", "ip_vs_rr", "nf_conntrack_ipv4")}, ""),
    (Proxy("ipvs", Ipvs("sh")), {"modules": ("ip_vs", "ip_vs_rr", "nf_conntrack")}, "needs ip_vs_sh, which"),
    (Proxy("iptables"), {"kernel": "4.19.0"}, ""),
]


@pytest.mark.parametrize(("proxy", "changed", "words"), MODES)
def test_a_mode_that_the_kernel_cannot_is_refused(proxy: Proxy, changed: dict[str, Any], words: str) -> None:
    facts = {"b": Facts(**{**GOOD, **changed})}
    if not words:
        check_hosts(facts, ["b"], proxy, swap=False)
        return
    with pytest.raises(ProvisionError) as caught:
        check_hosts(facts, ["b"], proxy, swap=False)
    assert words in caught.value.reason
    assert "use proxy.mode" in caught.value.hint


PARTS = {
    "kernel": "Linux 6.1.0 x86_64",
    "user": "0",
    "hostname": "a",
    "os": "ID=debian",
    "clock": "1",
    "swap": "Filename",
    "cpus": "0-3,6",
    "memory": "MemTotal: 1 kB",
    "links": "",
    "rp_filter": "",
    "iptables": "",
    "init": "systemd",
    "tools": "",
    "state": "",
    "network_record": "",
    "owned": "",
    "machine": "1",
    "network_manager": "",
    "selinux": "",
    "mark": "",
    "peers": "",
    "change": "",
    "endpoint": "",
    "etcd": "",
    "kubelet": "",
    "end": "",
}


STUB = "/run/systemd/resolve/resolv.conf"


@pytest.mark.parametrize(
    ("text", "path", "servers"),
    [
        ("nameserver 10.0.0.2", "/etc/resolv.conf", ("10.0.0.2",)),
        (
            "nameserver 127.0.0.53\noptions edns0\nsystemd-resolved\nnameserver 10.0.0.2\nnameserver fd00::2",
            STUB,
            ("10.0.0.2", "fd00::2"),
        ),
        ("nameserver ::1\nsystemd-resolved", STUB, ()),
        ("nameserver 127.0.0.53\nsystemd-resolved\nnameserver 127.0.0.1", STUB, ("127.0.0.1",)),
        (
            "nameserver 10.0.0.2\nnameserver 127.0.0.1\nsystemd-resolved\nnameserver 10.0.0.3",
            "/etc/resolv.conf",
            ("10.0.0.2", "127.0.0.1"),
        ),
        ("nameserver 127.0.0.1", "/etc/resolv.conf", ("127.0.0.1",)),
        ("# nameserver 127.0.0.53\nsystemd-resolved\nnameserver 10.0.0.2", "/etc/resolv.conf", ()),
        ("", "/etc/resolv.conf", ()),
    ],
)
def test_pods_inherit_name_servers_that_they_can_reach(
    text: str, path: str, servers: tuple[str, ...]
) -> None:
    output = "".join(f"={name}\n{body}\n" for name, body in {**PARTS, "resolver": text}.items())
    facts = parse_facts("a", output.encode(), 1.0)
    assert (facts.resolver, facts.nameservers) == (path, servers)


def test_every_fact_is_read() -> None:
    others = {"architecture", "kernel", "clock_skew", "memory", "state", "existing"}
    assert {each.name for each in fields(Facts)} == _READ.keys() | others
