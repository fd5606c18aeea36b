"""The lab that an inventory declares, and the copy of it for another subnet."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.inventory.model import load_inventory
from provisioner.lab import recipe
from provisioner.lab.declared import plan_of
from provisioner.lab.move import Move, default_name, move_inventory, move_text, moved_plan, rename
from provisioner.lab.names import Names

INVENTORY = """\
# Two hosts, 10.98.0.11 first.
all:
  vars:
    lab:
      name: small # by hand
      subnet: 10.98.0.0/24
    ansible_user: root
    service: 10.96.0.0/16
  hosts:
    one: {ansible_host: 10.98.0.11}
    two: {ansible_host: 10.98.0.12}
"""
MOVE = Move(IPv4Network("10.98.0.0/24"), IPv4Network("10.99.7.0/24"), "other")


def _write(directory: Path, text: str = INVENTORY) -> Path:
    path = directory / "site.yaml"
    path.write_text(text)
    return path


def test_plan_of_an_inventory(tmp_path: Path) -> None:
    plan = plan_of(load_inventory(_write(tmp_path)))
    assert plan.name == "small"
    assert plan.hosts == {"one": IPv4Address("10.98.0.11"), "two": IPv4Address("10.98.0.12")}
    assert plan.gateway == IPv4Address("10.98.0.1")
    assert plan.directory.name == "small"
    assert plan.offset("two") == 12


def test_commands_for_a_lab_name_its_inventory(tmp_path: Path) -> None:
    plan = plan_of(load_inventory(_write(tmp_path)))
    assert (
        plan.command("fault", "one", "power-on") == f"provision lab fault {tmp_path}/site.yaml one power-on"
    )
    moved = moved_plan(plan, MOVE, tmp_path / "other")
    assert moved.command("up") == f"provision lab up {tmp_path}/other/inventory.yaml"


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "inventories").glob("*.yaml")), ids=str)
def test_the_first_lines_of_an_inventory_show_commands_that_name_it(path: Path) -> None:
    shown = re.findall(r"(?m)^# +provision (?:lab up|apply)(.*)$", path.read_text())
    assert shown
    assert {words.strip() for words in shown} == {f"inventories/{path.name}"}


def test_a_lab_of_bare_hosts(tmp_path: Path) -> None:
    """With nothing but what every host must have, and a root of its own."""
    text = INVENTORY.replace("name: small", "name: small\n      suite: trixie\n      packages: bare")
    plan = plan_of(load_inventory(_write(tmp_path, text)))
    assert (plan.suite, plan.packages, plan.bare) == ("trixie", (), True)
    assert not plan_of(load_inventory(_write(tmp_path))).bare
    assert recipe.base_key("trixie", "x86_64", bare=True) != recipe.base_key("trixie", "x86_64")
    assert {"kmod", "sudo", "iproute2"} < set(recipe.packages_of(bare=True))
    assert not {"containerd", "runc", "iptables"} & set(recipe.packages_of(bare=True))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("subnet: 10.98.0.0/24", "subnet: 10.98.0.5/24", 6, "lab.subnet"),
        ("subnet: 10.98.0.0/24", "subnett: 10.98.0.0/24", 6, "subnett"),
        ("10.98.0.12}", "10.98.1.12}", 11, "two: 10.98.1.12 is not in"),
        ("10.98.0.12}", "10.98.0.11}", 11, "belongs to one already"),
        ("10.98.0.12}", "10.98.0.1}", 11, "belongs to the lab's gateway"),
        ("10.98.0.12}", "two.example}", 11, "needs an IPv4 address"),
        ("subnet: 10.98.0.0/24", "subnet: 10.0.0.0/8", 4, "prefix length"),
        ("name: small", "name: a/b", 4, "lab.name"),
        ("name: small", "packages: [--yes]", 4, "no package's name"),
        ("name: small", "packages: bar", 5, "not a list"),
        ("name: small", "suite: jammy", 4, "none of bookworm, trixie"),
        ("    lab:", "    laboratory:", 2, "all.vars.lab is missing"),
    ],
)
def test_faults_have_places(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in INVENTORY
    path = _write(tmp_path, INVENTORY.replace(old, new))
    with pytest.raises(InputError) as caught:
        plan_of(load_inventory(path))
    assert any(words in problem.reason for problem in caught.value.problems)
    assert {(problem.file, problem.line) for problem in caught.value.problems} == {(str(path), line)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.98.0.11", "10.99.7.11"),
        ("see 10.98.0.11.", "see 10.99.7.11."),
        ("10.98.0.0/24", "10.99.7.0/24"),
        ("10.98.0.11/32", "10.99.7.11/32"),
        ("https://10.98.0.11:6443,10.98.0.12", "https://10.99.7.11:6443,10.99.7.12"),
        ("10.98.1.11 110.98.0.11 10.98.0.110", "10.98.1.11 110.98.0.11 10.99.7.110"),
        ("1.10.98.0.11 v10.98.0.11.4", "1.10.98.0.11 v10.98.0.11.4"),
        ("10.98.0.999", "10.98.0.999"),
        ("10.98.0.1111", "10.98.0.1111"),
    ],
)
def test_addresses_move(text: str, expected: str) -> None:
    assert move_text(text, MOVE) == expected


def test_a_larger_subnet_keeps_offsets() -> None:
    move = Move(IPv4Network("10.98.0.64/26"), IPv4Network("10.99.0.0/16"), "wide")
    assert move_text("10.98.0.64/26 10.98.0.70 10.98.0.4", move) == "10.99.0.0/16 10.99.0.6 10.98.0.4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lab: {name: a, subnet: x}", "lab: {name: new, subnet: x}"),
        ("lab: {subnet: x}", "lab: {name: new, subnet: x}"),
        ("lab:\n  # why\n  subnet: x\n", "lab:\n  # why\n  name: new\n  subnet: x\n"),
        ("lab:\n  subnet: x\n  name: 'old' # keep\n", "lab:\n  subnet: x\n  name: new # keep\n"),
        ("other: {name: a}", "other: {name: a}"),
        ("", ""),
    ],
)
def test_the_lab_is_renamed(text: str, expected: str) -> None:
    assert rename(text, "new", ("lab",)) == expected


def test_moved_inventory_is_the_moved_plan(tmp_path: Path) -> None:
    source = _write(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yaml").write_text("vip: 10.98.0.100\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/one.bin").write_bytes(b"\xff10.98.0.1")
    target = tmp_path / "moved"
    path = move_inventory(source, MOVE, target)
    assert path.read_text() == INVENTORY.replace("10.98.0.", "10.99.7.").replace("small", "other")
    assert (target / "group_vars/all.yaml").read_text() == "vip: 10.99.7.100\n"
    assert (target / "host_vars/one.bin").read_bytes() == b"\xff10.98.0.1"
    plan = plan_of(load_inventory(source))
    (target / "host_vars/one.bin").unlink()
    read = plan_of(load_inventory(path))
    assert read == moved_plan(plan, MOVE, read.directory)


def test_a_smaller_target_is_refused(tmp_path: Path) -> None:
    move = Move(IPv4Network("10.98.0.0/24"), IPv4Network("10.99.7.0/25"), "other")
    with pytest.raises(InputError, match="smaller"):
        move_inventory(_write(tmp_path), move, tmp_path / "moved")


def test_names_are_short_and_differ_by_directory(tmp_path: Path) -> None:
    one, two = Names.of(tmp_path / "one"), Names.of(tmp_path / "two")
    assert one == Names.of(tmp_path / "one")
    assert one.uplink != two.uplink
    assert max(len(one.uplink), len(one.bridge), len(one.port(65534))) <= 15


def test_default_name() -> None:
    assert default_name("lab", IPv4Network("10.99.7.0/24")) == "lab-10-99-7-0"
