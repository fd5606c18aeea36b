"""Which load balancer has which part in the virtual router, and where none can be."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from test_preflight import GOOD

from provisioner.action.virtualrouter import (
    VirtualRouter,
    check_peers_are_cleared,
    check_virtual_address,
    link_of,
    strangers_of,
    virtual_router,
)
from provisioner.errors import InputError, ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

HA = Path(__file__).resolve().parents[2] / "inventories/ha.yaml"
BALANCERS = ("lb1", "lb2")


def spec() -> ClusterSpec:
    return load_cluster(HA)[1]


def facts(*addresses: str, **links: Any) -> Facts:
    return Facts(**{**GOOD, "addresses": {"lo": ("127.0.0.1/8",), "host0": addresses, **links}})


def test_each_has_its_own_priority_and_the_others_as_peers() -> None:
    first, second = (
        virtual_router(spec(), BALANCERS, host, facts(f"10.98.1.{number}/24"))
        for host, number in (("lb1", 5), ("lb2", 6))
    )
    assert first is not None
    assert second is not None
    assert (first.vip, first.id, first.link) == ("10.98.1.9/32", 9, "host0")
    assert (first.address, first.peers) == ("10.98.1.5", ("10.98.1.6",))
    assert (second.address, second.peers) == ("10.98.1.6", ("10.98.1.5",))
    assert first.priority > second.priority
    assert virtual_router(spec(), BALANCERS, "cp1", facts("10.98.1.11/24")) is None


@pytest.mark.parametrize(
    ("links", "link"),
    [
        ({"a": ("10.98.1.5/24",)}, "a"),
        ({"a": ("192.0.2.1/24", "10.98.1.5/28"), "b": ("10.98.0.0/16",)}, "a"),
        ({"a": ("10.98.1.9/32",), "b": ("10.98.1.5/24",)}, "b"),
        ({"a": ("10.98.1.9/32",)}, None),
        ({"a": ("fe80::1/64",)}, None),
    ],
    ids=["its network", "a further address", "the link that has it now is no proof", "by itself", "none"],
)
def test_the_link_is_the_one_in_whose_network_the_address_lies(
    links: dict[str, tuple[str, ...]], link: str | None
) -> None:
    assert link_of("10.98.1.9", Facts(**{**GOOD, "addresses": links})) == link


def test_a_balancer_elsewhere_is_refused_by_name() -> None:
    known = {"lb1": facts("10.98.1.5/24"), "lb2": facts("10.98.2.6/24", other=("fe80::1/64",))}
    with pytest.raises(ProvisionError, match=r"of lb2: lb2 has 10\.98\.2\.0/24$"):
        check_virtual_address(spec(), BALANCERS, known)
    check_virtual_address(spec(), BALANCERS, {"lb1": known["lb1"]})


@pytest.mark.parametrize(
    ("links", "said"),
    [
        (
            {"host0": ("10.98.1.106/24",), "storage": ("10.98.1.6/32", "fe80::1/64")},
            "lb2 is 10.98.1.6, and its link host0, which is to carry the virtual address 10.98.1.9, has 10.98.1.106",
        ),
        ({"host0": ("10.98.1.106/24",)}, "lb2 is 10.98.1.6, and its link host0"),
    ],
    ids=["on another link", "behind a translation of addresses"],
)
def test_one_whose_address_is_not_on_the_link_is_refused(
    links: dict[str, tuple[str, ...]], said: str
) -> None:
    """keepalived speaks and listens on that link alone: two that do not hear each other both take the address."""
    known = {"lb1": facts("10.98.1.5/24"), "lb2": Facts(**{**GOOD, "addresses": links})}
    with pytest.raises(ProvisionError) as caught:
        check_virtual_address(spec(), BALANCERS, known)
    assert caught.value.reason.startswith(said)
    assert "lb1" not in caught.value.reason
    assert "node_address" in caught.value.hint


def test_an_address_on_the_link_may_be_a_further_one() -> None:
    check_virtual_address(
        spec(), BALANCERS, {"lb1": facts("10.98.1.5/24"), "lb2": facts("10.98.1.106/24", "10.98.1.6/32")}
    )


def test_addresses_are_compared_as_such() -> None:
    written = spec()
    nodes = {**written.nodes, "lb1": replace(written.nodes["lb1"], address="fd00::0:5")}
    six = replace(written, nodes=nodes, load_balancer=replace(written.load_balancer, vip="fd00::9"))
    check_virtual_address(six, BALANCERS[:1], {"lb1": facts("10.98.1.5/24", "fd00::5/64")})
    six = replace(six, nodes=written.nodes)
    with pytest.raises(ProvisionError, match=r"fd00::9, has fd00::5$"):
        check_virtual_address(six, BALANCERS[:1], {"lb1": facts("10.98.1.5/24", "fd00::5/64")})


MAC = "02:00:0a:62:01:4d"


@pytest.mark.parametrize(
    ("known", "fault"),
    [
        ({"lb1": {}, "lb2": {}}, ""),
        ({"lb1": {"claimed": MAC}, "lb2": {"claimed": MAC}}, f"by another machine: {MAC} answers lb1 for it"),
        ({"lb1": {}, "lb2": {"claimed": MAC}}, f"by another machine: {MAC} answers lb2 for it"),
        ({"lb1": {"claimed": MAC}, "lb2": {"claimed": "kept"}}, ""),
        ({"lb1": {"claimed": MAC}}, ""),
    ],
    ids=["silent", "taken", "heard by one", "an earlier run set it up", "not all were read"],
)
def test_nobody_else_has_the_address(known: dict[str, dict[str, Any]], fault: str) -> None:
    own = {"lb1": "10.98.1.5/24", "lb2": "10.98.1.6/24"}
    read = {host: replace(facts(own[host]), **each) for host, each in known.items()}
    if fault:
        with pytest.raises(ProvisionError, match=fault):
            check_virtual_address(spec(), BALANCERS, read)
    else:
        check_virtual_address(spec(), BALANCERS, read)


def test_who_has_the_address_is_named_where_it_is_one_of_the_cluster() -> None:
    read = {"lb1": facts("10.98.1.5/24"), "lb2": replace(facts("10.98.1.6/24"), claimed=MAC)}
    with pytest.raises(ProvisionError, match="is taken by cp1: "):
        check_virtual_address(
            spec(), BALANCERS, {**read, "cp1": facts("10.98.1.11/24", more=("10.98.1.9/32",))}
        )
    holder = {"lb1": facts("10.98.1.5/24", more=("10.98.1.9/32",))}
    check_virtual_address(spec(), BALANCERS, {**read, **holder})


def test_a_peer_that_is_no_host_any_more_is_known_by_its_address() -> None:
    line = {"kind": "systemd", "name": "keepalived.service", "playbook": "site", "wanted": {}, "before": {}}
    of: dict[str, Any] = {"owned": json.dumps(line) + "\n", "peers": ("10.98.1.6", "10.98.1.7")}
    known = {"lb1": Facts(**{**GOOD, **of}), "lb2": Facts(**{**GOOD, **of, "peers": ("10.98.1.7",)})}
    assert strangers_of(spec(), known) == {"10.98.1.7": ["lb1", "lb2"]}
    assert strangers_of(spec(), {"lb1": Facts(**{**GOOD, **of, "owned": ""})}) == {}, "a keepalived of others"


def test_a_balancer_that_left_its_group_alone_is_refused(tmp_path: Path) -> None:
    """Nothing of the run reads it, so nothing would stop it."""
    line = {"kind": "systemd", "name": "keepalived.service", "playbook": "site", "wanted": {}, "before": {}}
    of: dict[str, Any] = {"owned": json.dumps(line) + "\n", "peers": ("10.98.1.6",)}
    known = {"lb1": Facts(**{**GOOD, **of})}
    lb2 = "        lb2:\n          ansible_host: 10.98.1.6\n"
    text = HA.read_text()
    assert text.count(lb2) == 1
    for kept, refused in ((text, False), (text.replace(lb2, f"    resting:\n      hosts:\n{lb2}"), True)):
        (tmp_path / "inventory.yaml").write_text(kept)
        inventory, found = load_cluster(tmp_path / "inventory.yaml")
        if refused:
            with pytest.raises(InputError, match=r"lb2 was a load balancer.* would take 10\.98\.1\.9"):
                check_peers_are_cleared(inventory, found, known)
        check_peers_are_cleared(inventory, found, {**known, **({"lb2": Facts(**GOOD)} if refused else {})})


def test_peers_are_read_from_what_is_written(tmp_path: Path) -> None:
    """By the line of the facts' script, from a file that the template made."""
    (line,) = [each for each in facts_script().main.splitlines() if each.startswith("part peers;")]
    template = (HA.parents[1] / "templates/load-balancer/keepalived.conf.j2").read_text()
    for peers in (("10.98.1.6", "fd00::7"), ()):
        router = VirtualRouter("10.98.1.9/32", 9, "host0", "10.98.1.5", 200, peers)
        text = Environment(trim_blocks=True, lstrip_blocks=True).from_string(template)  # noqa: S701
        file = tmp_path / "keepalived.conf"
        file.write_text(text.render(virtual_router=router, inventory_hostname="lb1"))
        script = f"part() {{ :; }}; f={file}\n{line}"
        said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
        assert tuple(said.stdout.split()) == peers
        assert ("unicast_peer" in file.read_text()) is bool(peers), "keepalived refuses one without peers"
