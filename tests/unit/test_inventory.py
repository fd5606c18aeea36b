"""Ansible's inventory rules, as tables: precedence, ranges, patterns, connections.

What is refused, and in which words: test_broken_input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import InputError
from provisioner.inventory.model import Connection, Inventory, load_inventory
from provisioner.inventory.patterns import match
from provisioner.inventory.ranges import expand
from provisioner.inventory.secrets import Secret
from provisioner.inventory.words import distance, nearest

DATA = Path(__file__).parents[1] / "data" / "inventory"


def table(name: str) -> Any:
    return yaml.safe_load((DATA / name).read_text())


PRECEDENCE = table("precedence.yaml")
GROUPS = {
    "all": ("h1", "h2", "h3", "h4", "web01.lan"),
    "a": ("h1", "h2", "h3"),
    "b": ("h2", "h4"),
    "kube_control_plane": ("h1",),
}


def load(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "i.yaml"
    path.write_text(text)
    return load_inventory(path)


@pytest.mark.parametrize("case", PRECEDENCE, ids=[case["name"] for case in PRECEDENCE])
def test_precedence(case: dict[str, Any], tmp_path: Path) -> None:
    for name, text in case["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    inventory = load_inventory(tmp_path / case.get("inventory", "i.yaml"))
    for host, expected in case["expect"].items():
        found = inventory.hosts[host].vars
        assert {name: found.get(name) for name in expected} == expected
    everyone = case.get("everyone", {})
    assert {name: inventory.variables.get(name) for name in everyone} == everyone


@pytest.mark.parametrize(("written", "expected"), table("ranges.yaml").items())
def test_ranges(written: str, expected: list[Any]) -> None:
    names = expand(written)
    assert [list(names.names), names.port] == [expected[0], *(expected[1:] or [None])]


@pytest.mark.parametrize(("pattern", "expected"), table("patterns.yaml").items())
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert list(match(pattern, GROUPS["all"], GROUPS)) == expected


CONNECTIONS: dict[str, tuple[str, Connection]] = {
    "defaults": ("", Connection("h")),
    "old names": (
        "ansible_ssh_host: 10.0.0.1, ansible_ssh_port: '2222', ansible_ssh_user: u, ansible_ssh_pass: p",
        Connection("10.0.0.1", 2222, "u", Secret.text("p")),
    ),
    "two names that agree": ("ansible_user: u, ansible_ssh_user: u", Connection("h", user="u")),
    "become": (
        "ansible_become: 'Yes', ansible_become_user: op, ansible_become_password: !secret {env: X}",
        Connection("h", become=True, become_user="op", become_password=Secret("env", "X", base=Path())),
    ),
    "time-out and host keys": (
        "ansible_timeout: 2.5, ansible_ssh_host_key_checking: 'off'",
        Connection("h", timeout=2.5, host_key_checking=False),
    ),
    "key file": ("ansible_private_key_file: /k/id", Connection("h", key_file=Path("/k/id"))),
    "arguments of ssh": (
        "ansible_ssh_common_args: '-C -J u@b:2222 -i/k/id -o StrictHostKeyChecking=no -o LogLevel=ERROR -p9'",
        Connection("h", 9, key_file=Path("/k/id"), proxy_jump="u@b:2222", host_key_checking=False),
    ),
    "proxy command": (
        "ansible_ssh_extra_args: '-o ProxyCommand=\"ssh -W %h:%p b\"'",
        Connection("h", proxy_command="ssh -W %h:%p b"),
    ),
    "what does not matter": (
        "ansible_connection: ssh, ansible_python_interpreter: /x, ansible_become_method: sudo, my_own: 1",
        Connection("h"),
    ),
    "templates": ("ansible_port: '{{ base + 1 }}', base: 2221", Connection("h", 2222)),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("i.yaml").write_text(f"all: {{hosts: {{h: {{{CONNECTIONS[name][0]}}}}}}}")
    assert load_inventory(Path("i.yaml")).hosts["h"].connection == CONNECTIONS[name][1]


def test_key_files_count_from_the_inventory(tmp_path: Path) -> None:
    inventory = load(tmp_path, "all: {hosts: {h: {ansible_private_key_file: keys/id}}}")
    assert inventory.hosts["h"].connection.key_file == tmp_path / "keys" / "id"


def test_groups_by_any_spelling(tmp_path: Path) -> None:
    text = """
        kube_master: {hosts: {m1: }}
        kube-control-plane: {hosts: {m2: }}
        ex_lb: {hosts: {l: }}
        harbor: {hosts: {r: }}
        kube-node: {children: {special: {hosts: {n: }}}}
        all: {hosts: {bastion: }}
    """
    inventory = load(tmp_path, text)
    assert list(inventory.hosts) == ["m1", "m2", "l", "r", "n", "bastion"]
    assert inventory.groups == {
        "all": ("m1", "m2", "l", "r", "n", "bastion"),
        "ungrouped": ("bastion",),
        "kube_control_plane": ("m1", "m2"),
        "load_balancer": ("l",),
        "registry": ("r",),
        "kube_node": ("n",),
        "special": ("n",),
    }
    assert [host.name for host in inventory.group("kube-master")] == ["m1", "m2"]
    assert inventory.group("etcd") == ()
    assert inventory.hosts["n"].groups == ("kube_node", "special")


@pytest.mark.parametrize("group", ["k8s_cluster", "kube_node2", "etcd_events", "gpu", "masters", "nodes"])
def test_other_groups_are_free(group: str, tmp_path: Path) -> None:
    assert group in load(tmp_path, f"{group}: {{hosts: {{h: }}}}").groups


def test_origins(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("a:\n  - b: 1\n")
    inventory = load(tmp_path, "g:\n  hosts:\n    h:\n      x: 1\n")
    assert inventory.origin("h", "x") == (str(tmp_path / "i.yaml"), 4, 10)
    assert inventory.origin("h", "x", key=True)[2] == 7
    assert inventory.origin("h", "none") == (str(tmp_path / "i.yaml"), 3, 5)
    assert inventory.origin(None, "a", 0, "b") == (str(tmp_path / "group_vars" / "all.yml"), 2, 8)
    assert inventory.origin("h", "a", 0, "b") == inventory.origin(None, "a", 0, "b")
    assert inventory.origin_of_group("g")[1:] == (1, 1)


def test_the_digest_follows_contents_not_places(tmp_path: Path) -> None:
    digests = []
    for folder, value in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / folder / "host_vars").mkdir(parents=True)
        (tmp_path / folder / "host_vars" / "h.yml").write_text(f"v: {value}")
        digests.append(load(tmp_path / folder, "all: {hosts: {h: }}").digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_pattern_that_names_nothing(tmp_path: Path) -> None:
    inventory = load(tmp_path, "all: {hosts: {worker1: , worker2: }}")
    assert [host.name for host in inventory.match("worker*")] == ["worker1", "worker2"]
    with pytest.raises(InputError, match="did you mean 'worker1'"):
        inventory.match("wroker1")


def test_secrets_stay_secrets_in_templates(tmp_path: Path) -> None:
    text = "all: {vars: {s: !secret {env: X}, alone: '{{ s }}', amid: 'p={{ s }}'}, hosts: {h: }}"
    variables = load(tmp_path, text).hosts["h"].vars
    assert isinstance(variables["alone"], Secret)
    with pytest.raises(InputError, match="only stand alone"):
        variables["amid"]


def test_templates_are_sandboxed(tmp_path: Path) -> None:
    text = "all: {vars: {x: \"{{ ''.__class__.__mro__[1].__subclasses__() }}\"}, hosts: {h: }}"
    with pytest.raises(InputError, match="unsafe"):
        load(tmp_path, text).hosts["h"].vars["x"]


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("etdc", ["etcd", "node"], "etcd"),
        ("podCIDR", ["pod_cidrs", "service_cidrs"], "pod_cidrs"),
        ("kube-nodes", ["kube_node", "kube_control_plane"], "kube_node"),
        ("colour", ["name", "network"], None),
        ("", ["a"], None),
    ],
)
def test_nearest(word: str, known: list[str], found: str | None) -> None:
    assert nearest(word, known) == found


def test_distance_counts_a_swap_as_one_slip() -> None:
    assert [distance(*pair) for pair in (("", ""), ("ab", "ba"), ("abc", ""), ("abcd", "acbd"))] == [
        0,
        1,
        3,
        1,
    ]
