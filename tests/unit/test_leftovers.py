"""Where in a run it is taken away what the playbook wants no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.kinds import base_modules, kinds_of
from provisioner.action.leftovers import LEAVING, with_leftovers
from provisioner.action.load import Loaded, Request, load
from provisioner.engine.ownership import LEFTOVERS
from provisioner.engine.plan import Desired
from provisioner.resources.model import Owned, Present, Resource

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
CONF = Resource("file", "/etc/keepalived/keepalived.conf", Present())
UNIT = Resource("systemd", "keepalived.service", Present())
NGINX = Resource("systemd", "api-load-balancer.service", Present())
OTHER = Resource("file", "/etc/other", Present())


@pytest.fixture
def ha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    return load(Request(HA))


def staged(
    loaded: Loaded, owned: Mapping[str, tuple[Resource, ...]], *sharing: str
) -> list[tuple[str, bool]]:
    """The stages, and after which of them all hosts wait; `sharing` are those in the group."""
    desired: tuple[Desired, ...] = (
        Desired("packages", {"cp1": (OTHER,)}),
        Desired("load balancers", dict.fromkeys(sharing, (NGINX, CONF))),
        Desired("load balancers in use", dict.fromkeys(sharing, (UNIT,)), serial=(1, 10)),
        Desired("check", {"cp1": ()}, always=True),
    )
    known = {
        host: {
            each.id: Owned(each.kind, each.name, frozenset({"site"}), {"sha256": "0"}, {})
            for each in resources
        }
        for host, resources in owned.items()
    }
    kinds = kinds_of(dict(base_modules(deep=False)))
    desired = tuple(each for each in desired if each.hosts)
    found = with_leftovers(loaded, desired, known, kinds, "site")
    for each in found:
        if each.name in (LEAVING, LEFTOVERS):
            assert set(each.hosts) == {"lb2"}
            there = {resource.id for resource in each.hosts["lb2"]}
            assert there == {UNIT.id} if each.name == LEAVING else there
    return [(each.name, each.barrier) for each in found if each.hosts]


def test_who_leaves_hands_the_address_over_before_others_forget_it(ha: Loaded) -> None:
    all_of_it = (NGINX, CONF, UNIT)
    assert staged(ha, {"lb1": all_of_it, "lb2": all_of_it}, "lb1") == [
        ("packages", False),
        (LEAVING, True),
        ("load balancers", False),
        ("load balancers in use", True),
        (LEFTOVERS, False),
        ("check", False),
    ]


def test_nobody_leaves_before_another_is_at_work(ha: Loaded) -> None:
    """They are all replaced; or there is no address any more, and nodes use it until they are pointed elsewhere."""
    late = [
        ("packages", False),
        ("load balancers", False),
        ("load balancers in use", True),
        (LEFTOVERS, False),
    ]
    assert staged(ha, {"lb2": (NGINX, CONF, UNIT)}, "lb3")[:-1] == late
    assert staged(ha, {"lb2": (NGINX, CONF, UNIT)}) == [
        ("packages", True),
        (LEFTOVERS, False),
        ("check", False),
    ]


def test_other_things_go_at_the_end(ha: Loaded) -> None:
    assert [name for name, _ in staged(ha, {"lb1": (CONF, UNIT), "lb2": (NGINX,)}, "lb1")] == [
        "packages", "load balancers", "load balancers in use", LEFTOVERS, "check",
    ]  # fmt: skip


def test_where_nobody_leaves_there_is_no_stage_for_it(ha: Loaded) -> None:
    both = {"lb1": (CONF, UNIT, NGINX), "lb2": (CONF, UNIT, NGINX)}
    names = [name for name, _ in staged(ha, both, "lb1", "lb2")]
    assert LEAVING not in names
    assert LEFTOVERS not in names
