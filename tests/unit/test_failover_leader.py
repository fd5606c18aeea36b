"""Whose host is lost in the test of an etcd leader's death."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from provisioner.action import failoverleader
from provisioner.action.failoverleader import LeftOutError, leaders_host
from provisioner.action.failoversite import Member, Site
from provisioner.errors import ProvisionError
from provisioner.failover import faults
from provisioner.kube.leader import Voter, voters
from provisioner.remote.outcome import Result
from provisioner.shell.script import Script

PLANES = {"cp1": "10.0.0.1", "cp2": "10.0.0.2", "cp3": "fd00::3"}
NUMBERS = {"cp1": 0x8211F1D0F64F3269, "cp2": 0xFFFFFFFFFFFFFFFF, "cp3": 7}


def told(leader: str, silent: tuple[str, ...] = (), learner: str = "") -> str:
    """As etcdctl 3.5 prints it."""

    def url(host: str) -> str:
        address = PLANES[host]
        return f"https://[{address}]:2379" if ":" in address else f"https://{address}:2379"

    listed = {
        "header": {"cluster_id": 1, "member_id": NUMBERS["cp1"], "raft_term": 2},
        "members": [
            {"ID": NUMBERS[host], "name": host, "peerURLs": ["https://p:2380"], "clientURLs": [url(host)]}
            | ({"isLearner": True} if host == learner else {})
            for host in PLANES
        ],
    }
    status = [
        {
            "Endpoint": url(host),
            "Status": {"header": {"member_id": NUMBERS[host]}, "version": "3.5.1", "leader": NUMBERS[leader]},
        }
        for host in PLANES
        if host not in silent
    ]
    return f"{json.dumps(listed)}\n==\n{json.dumps(status)}\n"


class Hosts:
    """Stands for a pool, in which etcd tells the same everywhere."""

    def __init__(self, text: str) -> None:
        self.text, self.host = text, ""
        self.moved: list[tuple[str, str]] = []

    def session(self, host: str) -> Hosts:
        self.host = host
        return self

    def run(self, script: Script, *, deadline: float) -> Result:
        del deadline
        if "move-leader" in script.main:
            self.moved.append((self.host, script.main.split()[-1]))
        return Result(0, self.text.encode(), b"", 0.0)


def site(hosts: Hosts, changes: Mapping[str, Any]) -> Site:
    members = {host: Member(address, "ctl", f"{host}-eth") for host, address in PLANES.items()}
    known: dict[str, Any] = {
        "pool": cast(Any, hosts), "endpoint": "10.0.0.9", "port": 6443, "vip": "10.0.0.9",
        "links": {"lb1": "eth0", "lb2": "eth0"}, "servers": PLANES, "client": "worker1", "authority": "",
        "emit": lambda _: None, "members": members,
    }  # fmt: skip
    return Site(**{**known, **changes})


def test_who_leads_and_who_answers() -> None:
    assert voters(told("cp2", silent=("cp3",))) == [
        Voter("8211f1d0f64f3269", "cp1", "10.0.0.1", answers=True, leads=False),
        Voter("ffffffffffffffff", "cp2", "10.0.0.2", answers=True, leads=True),
        Voter("7", "cp3", "fd00::3", answers=False, leads=False),
    ]
    assert [each.name for each in voters(told("cp1", learner="cp2"))] == ["cp1", "cp3"]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """API servers that are well, and nobody who waits for it."""
    monkeypatch.setattr(failoverleader, "api_ready", lambda _: "")
    monkeypatch.setattr(failoverleader, "_SETTLED", 0.0)
    monkeypatch.setattr(failoverleader, "_HANDED_OVER", 0.0)


@pytest.mark.parametrize(
    "text", ["", "no\n==\n[]", "[]\n==\n[]", '{"members": [{}]}\n==\n', '{"members": 1}']
)
def test_other_words_are_told(text: str) -> None:
    with pytest.raises(ProvisionError, match="not understood"):
        voters(text)


@pytest.mark.parametrize(
    ("leader", "changes", "host", "moved"),
    [
        ("cp2", {}, "cp2", []),
        ("cp3", {}, "cp3", []),
        ("cp1", {}, "cp3", [("cp1", "7")]),  # it keeps the run's lock
        ("cp3", {"client": "cp3"}, "cp2", [("cp3", "ffffffffffffffff")]),
        ("cp2", {"links": {"cp2": "eth0", "lb1": "eth0"}}, "cp3", [("cp2", "7")]),
        ("cp3", {"endpoint": "fd00::3"}, "cp2", [("cp3", "ffffffffffffffff")]),
        ("cp1", {"servers": {"a": "10.0.0.4"}}, "cp1", []),
    ],
)
def test_a_leader_with_another_part_hands_over_before(
    leader: str,
    changes: dict[str, Any],
    host: str,
    moved: list[tuple[str, str]],
) -> None:
    hosts = Hosts(told(leader))
    fault, found = site(hosts, changes).fault(faults.LEADER, "lb1")
    assert (found, hosts.moved) == (host, moved)
    assert fault
    assert (fault.target, fault.on_balancer, fault.reboots) == ("0 failed", False, True)
    assert f"ip link set dev {host}-eth down\nsystemctl reboot" in fault.do


@pytest.mark.parametrize(
    ("text", "changes", "why"),
    [
        (told("cp2", silent=("cp3",)), {}, "2 of 3 members of etcd answer, and one less were no majority"),
        (
            told("cp2"),
            {"links": {"cp2": "eth0", "cp3": "eth0"}},
            "cp1 keeps the lock of this run; cp2 is a load balancer; cp3 is a load balancer",
        ),
    ],
)
def test_what_would_tell_nothing_is_left_out(text: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(LeftOutError) as raised:
        leaders_host(site(Hosts(text), changes))
    assert str(raised.value) == why


def test_where_it_is_tried() -> None:
    hosts = Hosts("")
    assert site(hosts, {}).names()[-2:] == (faults.SERVER, faults.LEADER)
    assert site(hosts, {"vip": None}).names() == ("", faults.SERVER, faults.LEADER)
    assert faults.LEADER not in site(hosts, {"members": {}}).names()


@pytest.mark.parametrize("name", [faults.LINK, faults.POWER])
@pytest.mark.parametrize(
    ("text", "changes", "why"),
    [
        (told("cp1"), {}, ""),
        (told("cp1", silent=("cp3",)), {}, "2 of 3 members of etcd answer, and one less were no majority"),
        (told("cp1", silent=("cp3",)), {"members": {}}, ""),
        (told("cp1"), {"servers": {"cp2": "10.0.0.2"}}, "cp2 has the only API server"),
    ],
    ids=["all are well", "one member is down", "its member is elsewhere", "one API server"],
)
def test_a_balancer_is_not_lost_with_what_the_cluster_needs(
    name: str, text: str, changes: dict[str, Any], why: str
) -> None:
    tried = site(Hosts(text), {"links": {"cp2": "eth0", "cp3": "eth0"}, **changes})
    if not why:
        assert tried.fault(name, "cp2")[1] == "cp2"
        return
    with pytest.raises(LeftOutError) as raised:
        tried.fault(name, "cp2")
    assert str(raised.value) == why


def test_an_api_server_is_killed_while_the_others_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def ready(runners: Sequence[Hosts]) -> str:
        asked.extend(each.host for each in runners)
        if "cp2" in asked:
            raise ProvisionError("the API server on cp2 was not ready after 90 s")
        return ""

    monkeypatch.setattr(failoverleader, "api_ready", ready)
    two = {"cp1": "10.0.0.1", "cp3": "10.0.0.3"}
    assert site(Hosts(""), {"servers": two}).fault(faults.SERVER, "lb1")[1] == "cp3"
    assert asked == ["cp1"]
    with pytest.raises(ProvisionError, match="cp2 was not ready"):
        site(Hosts(""), {"servers": {**two, "cp2": "10.0.0.2"}, "client": "cp2"}).fault(faults.SERVER, "lb1")
