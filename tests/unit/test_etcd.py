"""Who founds an etcd cluster and who joins it, what a member's state is, and when one may leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.etcd import check_forgotten, founders_of, lost
from provisioner.engine.danger import dangers
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.kube.etcd import SEED, EtcdMemberKind, EtcdSeedKind
from provisioner.kube.members import Member, check_majority
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Absent, Change, Owned, Present, Resource, Unknown

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
BARE = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "")
PLANES = ("cp1", "cp2", "cp3")


def facts(etcd: Mapping[str, str]) -> dict[str, Facts]:
    return {name: replace(BARE, etcd=text) for name, text in etcd.items()}


@pytest.mark.parametrize(
    ("etcd", "founders"),
    [
        ({"cp1": "", "cp2": "", "cp3": ""}, PLANES),
        ({"cp1": "data", "cp2": "", "cp3": ""}, ()),
        ({"cp1": "data", "cp2": "data", "cp3": "data"}, ()),
        ({"cp1": "founding", "cp2": "founding", "cp3": "founding"}, PLANES),
        ({"cp1": "data", "cp2": "data", "cp3": "founding"}, ("cp3",)),
        ({"cp1": ""}, ()),
        ({"cp1": "seeded", "cp2": "", "cp3": ""}, PLANES),
        ({"cp1": "data", "cp2": "founding", "cp3": "seeded"}, ("cp2", "cp3")),
    ],
    ids=[
        "bare",
        "two join",
        "all there",
        "killed amid the first start",
        "killed late in it",
        "others not asked",
        "killed amid the seeds",
        "killed before the third start",
    ],
)
def test_founders(etcd: Mapping[str, str], founders: tuple[str, ...]) -> None:
    assert founders_of(load_inventory(HA), facts(etcd), never_ran=True) == set(founders)


RAN = json.dumps(
    {"kind": "systemd", "name": "etcd.service", "playbook": "site.yaml", "wanted": {}, "before": {}}
)


@pytest.mark.parametrize(
    ("etcd", "owned", "said"),
    [("", RAN, True), ("joining", RAN, False), ("data", RAN, False), ("", "", False)],
)
def test_data_that_are_missing_are_no_empty_host(etcd: str, owned: str, said: bool) -> None:
    assert lost(replace(BARE, etcd=etcd, owned=owned)) is said
    spec = {**MEMBER.spec, "founding": False, "lost": said}
    change = Change(Resource("etcd_seed", "cp1", Present(), spec), Absent(), "create")
    plan = Plan("", "", (StagePlan("etcd members", ("cp1",), {"cp1": (change,)}),))
    assert bool(dangers(plan, established=True)) is said


def test_a_member_is_not_forgotten() -> None:
    owned = {"lb1": {"systemd:etcd.service": Owned("systemd", "etcd.service", frozenset(), {}, {})}}
    with pytest.raises(InputError, match="lb1 has a member of etcd and is not in the group etcd"):
        check_forgotten(load_inventory(HA), {"lb1": replace(BARE, etcd="data")}, owned)
    check_forgotten(load_inventory(HA), {"lb1": BARE}, owned)
    check_forgotten(load_inventory(HA), {"cp1": replace(BARE, etcd="data")}, {"cp1": owned["lb1"]})


def test_an_empty_etcd_is_not_begun_for_a_cluster_that_has_run() -> None:
    nothing = facts(dict.fromkeys(PLANES, ""))
    with pytest.raises(ProvisionError, match=r"no member of etcd .* has its data, and this cluster has run"):
        founders_of(load_inventory(HA), nothing, never_ran=False)


MEMBERS = tuple((name, f"10.0.0.{number}") for number, name in enumerate(PLANES, 1))
MEMBER = Resource(
    "etcd_member", "cp1", Present(), {"name": "cp1", "url": "https://10.0.0.1:2380", "members": MEMBERS}
)
LINE = "8e9e05c52164694d, {}, cp1, https://10.0.0.1:2380, https://10.0.0.1:2379, {}\n"


@pytest.mark.parametrize(
    ("printed", "state"),
    [
        ("none\n", Absent()),
        ("", Unknown("etcd does not answer")),
        (LINE.format("started", "false"), Present()),
        (LINE.format("started", "true"), Absent()),
        (LINE.format("unstarted", "false"), Absent()),
        ("1, started, cp2, https://10.0.0.2:2380, https://10.0.0.2:2379, false\n", Absent()),
    ],
    ids=["no data", "silent", "votes", "learns", "never started", "is another"],
)
def test_a_member_is_one_that_votes(printed: str, state: object) -> None:
    assert EtcdMemberKind().parse(printed.encode(), [MEMBER]) == {MEMBER.id: state}


@pytest.mark.parametrize("founding", [True, False])
def test_only_founders_start_something_new(founding: bool) -> None:
    spec = {**MEMBER.spec, "founding": founding}
    script = EtcdSeedKind().change(Change(Resource("etcd_seed", "cp1", Present(), spec), Absent(), "create"))
    assert ("STATE=new" in script.main, "member add" in script.main) == (founding, not founding)
    assert SEED in script.main


def test_a_seed_of_another_run_does_not_count() -> None:
    asked, other = (EtcdSeedKind().probe([MEMBER]).main for _ in range(2))
    assert asked != other


def member(name: str, *, votes: bool = True, healthy: bool = True) -> Member:
    return Member(f"{name}0", name, f"https://{name}:2380", f"https://{name}:2379", votes, healthy)


A, B, C, D, E = (member(name) for name in "abcde")
ILL = replace(B, healthy=False)
LEARNER = member("l", votes=False)


@pytest.mark.parametrize(
    ("members", "leaving"),
    [
        ([A, B], A),
        ([A, B, C], A),
        ([A, ILL, C], ILL),
        ([A, B, LEARNER], LEARNER),
        ([A, ILL, C, D], A),
        ([A, ILL, C, D, E], A),
    ],
)
def test_one_may_leave(members: list[Member], leaving: Member) -> None:
    check_majority(members, leaving)


@pytest.mark.parametrize(
    ("members", "leaving", "reason"),
    [
        ([A], A, "a is the only member"),
        ([A, LEARNER], A, "a is the only member"),
        ([A, ILL], A, "1 of the 2 members now answer"),
        ([A, ILL], ILL, "1 of the 2 members now answer"),
        ([A, ILL, C], A, r"1 of the 2 members without it answer, which is no majority \(b does not\)"),
        ([A, ILL, replace(C, healthy=False), D], A, "2 of the 4 members now answer"),
    ],
)
def test_one_may_not_leave(members: list[Member], leaving: Member, reason: str) -> None:
    with pytest.raises(ProvisionError, match=reason):
        check_majority(members, leaving)
