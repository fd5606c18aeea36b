"""An inventory without one of its hosts: what is left is a cluster, or it is said why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.load import Loaded, Request, load
from provisioner.action.remaining import place_of, without
from provisioner.errors import InputError
from provisioner.spec.model import Existing

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"


@pytest.fixture
def ha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    return load(Request(HA))


def edited(folder: Path, *replaced: tuple[str, str]) -> Loaded:
    text = HA.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path = folder / "inventory.yaml"
    path.write_text(text)
    return load(Request(path))


@pytest.mark.parametrize("host", ["worker1", "cp1", "cp3", "lb2"])
def test_the_rest_is_a_cluster(ha: Loaded, host: str) -> None:
    rest = without(ha, host)
    assert host not in rest.hosts
    assert set(rest.inventory.hosts) == set(ha.inventory.hosts) - {host}
    assert rest.spec is not None
    assert host not in rest.spec.nodes
    assert rest.state_host == ("cp2" if host == "cp1" else "cp1")


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("wroker1", "the inventory has no host 'wroker1'"),
        ("registry1", "registry1 is the registry"),
    ],
)
def test_some_hosts_do_not_leave(ha: Loaded, host: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        without(ha, host)


@pytest.mark.parametrize(
    ("host", "hint"),
    [("lb2", "disable --now keepalived"), ("worker1", "by hand"), ("cp1", "by hand")],
)
def test_of_a_cluster_built_by_others_only_what_is_ours_goes(ha: Loaded, host: str, hint: str) -> None:
    assert ha.spec is not None
    theirs = replace(ha, spec=replace(ha.spec, existing=Existing("binary")))
    with pytest.raises(InputError, match=hint):
        without(theirs, host)


LAST_BALANCER = ("        lb2:\n          ansible_host: 10.98.1.6\n", "")
ALONE = [("cp[1:3]", "cp1")] + [
    (f"        cp{n}:\n          ansible_host: 10.98.1.1{n}\n", "") for n in (2, 3)
]
DIRECT = ("host: 10.98.1.9", "host: 10.98.1.12")
BALANCERS = (
    (
        "    load_balancer:\n      hosts:\n        lb1:\n          ansible_host: 10.98.1.5\n"
        "        lb2:\n          ansible_host: 10.98.1.6\n"
    ),
    "",
)


@pytest.mark.parametrize(
    ("changes", "host", "reason"),
    [
        ([LAST_BALANCER], "lb1", "lb1 is the last load balancer"),
        (ALONE, "cp1", "without cp1: no control plane"),
        ([DIRECT, BALANCERS], "cp2", "the endpoint is cp2's own address"),
    ],
    ids=["the last load balancer", "the only control plane", "the endpoint"],
)
def test_what_nobody_could_do_without(
    changes: list[tuple[str, str]], host: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    with pytest.raises(InputError, match=reason):
        without(edited(tmp_path, *changes), host)


def test_the_place_is_where_its_address_stands(ha: Loaded) -> None:
    line = int(place_of(ha.inventory, "worker1").rpartition(":")[2])
    assert "worker1:" in HA.read_text().splitlines()[line - 1]
