"""What is said of a fail-over test, and what is refused before anything is broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from provisioner.action.failoversite import check_failover
from provisioner.action.load import Loaded, Request
from provisioner.engine.events import FailoverEnded, FaultEnded
from provisioner.errors import InputError
from provisioner.failover.faults import Fault, apis_out_of_reach
from provisioner.playbook.load import load_playbook, shipped
from provisioner.playbook.model import Selection
from provisioner.report.wording import lines_of
from provisioner.spec.load import load_cluster

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
WELL = FaultEnded(
    fault="keepalived stopped", host="lb1", outage=0.3, failed=0, total=30, silence=0.4, broken=4, kept=4, back=0.1,
    nobody=0.2, holders=("lb2",), target="0 failed",
)  # fmt: skip
BAD = FaultEnded(
    fault="nginx stopped", host="lb2", outage=15.0, failed=290, total=300, silence=15.0, broken=4, kept=4, back=9.0,
    nobody=14.9, target="≤ 3 s", ok=False, why="no other load balancer had the address within 15 s",
)  # fmt: skip


def test_the_table() -> None:
    lines = lines_of(FailoverEnded(client="worker1", faults=(WELL, BAD), ok=False))
    assert [" ".join(line.text.split()) for line in lines] == [
        "fault on outage failed wanted kept: silence broken back VIP on 2 on none then on",
        "keepalived stopped lb1 0.30 s 0 of 30 0 failed 0.40 s 4 of 4 0.10 s 0.00 s 0.20 s lb2",
        "nginx stopped lb2 15.00 s 290 of 300 ≤ 3 s 15.00 s 4 of 4 9.00 s 0.00 s 14.90 s",
        "nginx stopped on lb2: no other load balancer had the address within 15 s",
        "does not fail over as it shall, as seen from worker1, a new connection each 50 ms",
    ]
    assert [line.style for line in lines] == ["dim", "", "bad", "bad", "bad"]
    left = ("etcd leader's host lost: not tried: cp1 is a load balancer",)
    *_, told, verdict = lines_of(FailoverEnded(client="worker1", faults=(WELL,), ok=True, left_out=left))
    assert (told.text, told.style, verdict.style) == (f"  {left[0]}", "warn", "good")


@pytest.mark.parametrize(
    ("fault", "target", "outage", "failed", "met"),
    [
        (Fault("a", "", "", failures=0), "0 failed", 9.0, 0, True),
        (Fault("a", "", "", failures=0), "0 failed", 0.1, 1, False),
        (Fault("a", "", "", failures=1), "≤ 1 failed", 0.1, 1, True),
        (Fault("a", "", "", longest=2.0), "≤ 2 s", 2.0, 50, True),
        (Fault("a", "", "", longest=2.0), "≤ 2 s", 2.001, 0, False),
        (Fault("a", "", ""), "", 99.0, 99, True),
    ],
)
def test_what_is_wanted(fault: Fault, target: str, outage: float, failed: int, met: bool) -> None:
    assert (fault.target, fault.met(outage, failed)) == (target, met)


def test_each_address_is_dropped_by_its_family() -> None:
    do = apis_out_of_reach(["10.0.0.1", "fd00::1", "10.0.0.2"], 6443).do
    assert "ip daddr { 10.0.0.1, 10.0.0.2 } tcp dport 6443 drop" in do
    assert "ip6 daddr { fd00::1 } tcp dport 6443 drop" in do
    assert "ip6" not in apis_out_of_reach(["10.0.0.1"], 6443).do


def loaded(
    folder: Path, request: Request | None = None, changes: Mapping[str, str] = MappingProxyType({})
) -> Loaded:
    text = HA.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "inventory.yaml"
    path.write_text(text)
    inventory, spec = load_cluster(path)
    playbook = load_playbook(shipped("playbooks") / "check.yaml", set())
    return Loaded(request or Request(path), inventory, spec, playbook, None, "run")


def test_what_somebody_agrees_to(tmp_path: Path) -> None:
    reasons = check_failover(loaded(tmp_path))
    assert reasons[0].startswith("lb1, lb2: stops keepalived and nginx, ")
    named = check_failover(loaded(tmp_path, None, {"host: 10.98.1.9 ": "host: api.ha.internal "}))
    assert named == (
        "kills an API server, whose connections break",
        "reboots the host of etcd's leader, with all that runs on it",
    )
    assert reasons[2:] == named


@pytest.mark.parametrize(
    ("request_", "changes", "reason"),
    [
        (None, {"load_balancer:": "others:", "10.98.1.9 ": "10.98.1.11 "}, "there is no load balancer"),
        (Request(HA, limit="lb1"), {}, "--failover: is about all load balancers"),
        (
            Request(HA, selection=Selection(tags=frozenset({"etcd"}))),
            {},
            "--failover: is about all load balancers",
        ),
        (Request(HA, playbook=HA), {}, "--failover: is about all load balancers"),
        (
            None,
            {
                "cp[1:3]": "cp1",
                "host: 10.98.1.9 ": "host: api.ha.internal ",
                "        cp2:\n          ansible_host: 10.98.1.12\n": "",
                "        cp3:\n          ansible_host: 10.98.1.13\n": "",
            },
            "nothing can fail over",
        ),
    ],
)
def test_what_is_refused(
    tmp_path: Path, request_: Request | None, changes: dict[str, str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        check_failover(loaded(tmp_path, request_, changes))
