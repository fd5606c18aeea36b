"""What nodes know as the API server's address is not taken away by the run that points them to another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_preflight import GOOD

from provisioner.action.endpointkept import check_endpoint_kept, unserved
from provisioner.errors import InputError
from provisioner.inventory.model import Inventory, load_inventory
from provisioner.playbook.facts import Facts
from provisioner.spec.load import load_spec
from provisioner.spec.model import ClusterSpec

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
OTHER_VIP = ("host: 10.98.1.9 ", "host: 10.98.1.8 ")
OTHER_PORT = ("        port: 6443\n", "        port: 8443\n")
PLANE = ("host: 10.98.1.9 ", "host: 10.98.1.11 ")
ONE = ("host: 10.98.1.9 ", "host: 10.98.1.5 ")
NAME = ("host: 10.98.1.9 ", "host: api.example ")
HOSTS = """\
      hosts:
        lb1:
          ansible_host: 10.98.1.5
        lb2:
          ansible_host: 10.98.1.6
"""
GROUP = (f"    load_balancer:\n{HOSTS}", f"    resting:\n{HOSTS}")
LOCAL = ("      kubernetes:\n", "      load_balancer: {mode: local}\n      kubernetes:\n")
SHARED = "https://10.98.1.9:6443"
CUT = "cp1 and 4 more would be cut off: they know the API server as 10.98.1.9:6443, and"
UNITS = ("api-load-balancer.service", "keepalived.service")


def owned(*units: str) -> str:
    lines = (
        {"kind": "systemd", "name": each, "playbook": "site", "wanted": {}, "before": {}} for each in units
    )
    return "".join(json.dumps(each) + "\n" for each in lines)


def facts(known: str, *units: str) -> dict[str, Facts]:
    """Of hosts that are at work; lb1 has the address, and nodes know the API server by what is `known`."""
    hosts = {
        "lb1": Facts(
            **{**GOOD, "owned": owned(*units), "addresses": {"h": ("10.98.1.5/24", "10.98.1.9/32")}}
        ),
        "lb2": Facts(**{**GOOD, "owned": owned(*units), "addresses": {"h": ("10.98.1.6/24",)}}),
    }
    nodes = {"cp1": 11, "cp2": 12, "cp3": 13, "worker1": 21, "worker2": 22}
    for name, number in nodes.items():
        addresses = {"h": (f"10.98.1.{number}/24",)}
        hosts[name] = Facts(**{**GOOD, "addresses": addresses, "endpoint": known})
    return hosts


def loaded(folder: Path, *replaced: tuple[str, str]) -> tuple[Inventory, ClusterSpec]:
    text = HA.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path = folder / "inventory.yaml"
    path.write_text(text)
    inventory = load_inventory(path)
    return inventory, load_spec(inventory)


def checked(folder: Path, known: dict[str, Facts], *replaced: tuple[str, str]) -> None:
    check_endpoint_kept(*loaded(folder, *replaced), known)


@pytest.mark.parametrize(
    ("known", "replaced", "says"),
    [
        (SHARED, [OTHER_VIP], f":21:15: {CUT} the load balancers would have 10.98.1.8 in its place"),
        (f"{SHARED} switching", [OTHER_VIP], "10.98.1.8 in its place"),
        (SHARED, [OTHER_PORT], f":22:15: {CUT} lb1, lb2 would listen at port 8443 alone"),
        (SHARED, [OTHER_VIP, OTHER_PORT], "lb1 would listen at port 8443 alone"),
        ("https://10.98.1.5:6443", [OTHER_PORT], "lb1 would listen at port 8443 alone"),
        ("https://api.example:6443", [NAME, OTHER_PORT], "lb1, lb2 would listen at port 8443 alone"),
    ],
)
def test_what_load_balancers_would_not_serve_any_more_is_refused(
    tmp_path: Path, known: str, replaced: list[tuple[str, str]], says: str
) -> None:
    with pytest.raises(InputError) as raised:
        checked(tmp_path, facts(known, *UNITS), *replaced)
    said = str(raised.value)
    assert says in said
    assert "endpoint {host: 10.98.1.11, port: 6443} and nobody in the group load_balancer" in said


@pytest.mark.parametrize(
    ("known", "replaced"),
    [(SHARED, [GROUP]), (f"{SHARED} switching", [GROUP]), ("https://api.example:6443", [NAME, GROUP])],
    ids=["an address", "amid a switch", "a name"],
)
def test_the_last_load_balancers_do_not_leave_under_their_nodes(
    tmp_path: Path, known: str, replaced: list[tuple[str, str]]
) -> None:
    with pytest.raises(InputError) as raised:
        checked(tmp_path, facts(known, *UNITS), *replaced)
    said = str(raised.value)
    assert "6443 is served by lb1, lb2 alone, which balance no more" in said
    assert "endpoint {host: 10.98.1.11, port: 6443} and nobody in the group load_balancer" in said


@pytest.mark.parametrize(
    ("known", "units", "replaced"),
    [
        ("", (), []),
        (SHARED, UNITS, []),
        (SHARED, UNITS, [PLANE, GROUP]),
        ("https://10.98.1.11:6443", (), [OTHER_VIP, OTHER_PORT]),
        ("https://10.98.1.5:6443", UNITS[:1], []),
        (SHARED, UNITS, [ONE]),
        (SHARED, UNITS, [LOCAL, GROUP]),
        ("https://127.0.0.1:6443", (), []),
        ("https://192.0.2.7:6443", (), []),
        ("https://192.0.2.7:6443", UNITS[:1], [("host: 10.98.1.9 ", "host: 192.0.2.7 "), GROUP]),
        ("https://api.example:6443", (), [NAME, OTHER_PORT]),
    ],
    ids=[
        "bare hosts",
        "it stays",
        "the way round, first half",
        "the way round, second half",
        "from one load balancer to a shared address",
        "and back: the shared address goes last",
        "to a load balancer on each node",
        "and back",
        "somebody else's load balancer",
        "it is in use, and ours are just about to leave",
        "the first load balancers behind a name",
    ],
)
def test_what_is_served_until_the_end_is_let_pass(
    tmp_path: Path, known: str, units: tuple[str, ...], replaced: list[tuple[str, str]]
) -> None:
    checked(tmp_path, facts(known, *units), *replaced)


@pytest.mark.parametrize(
    ("units", "replaced", "leave"),
    [
        (UNITS, [LOCAL, GROUP], ["lb1", "lb2"]),
        (UNITS, [LOCAL, GROUP, PLANE], []),
        ((), [LOCAL, GROUP], []),
        (UNITS, [], []),
    ],
    ids=["to local", "with another endpoint", "somebody else's", "they stay"],
)
def test_who_leaves_clients_without_an_endpoint_is_told(
    tmp_path: Path, units: tuple[str, ...], replaced: list[tuple[str, str]], leave: list[str]
) -> None:
    assert unserved(*loaded(tmp_path, *replaced), facts(SHARED, *units)) == leave
