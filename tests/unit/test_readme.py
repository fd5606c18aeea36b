"""What README.md shows is right: its inventory, its commands, its exit codes."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from provisioner import errors
from provisioner.cli.main import COMMANDS, cli
from provisioner.pki.certificate import RENEW_DAYS
from provisioner.spec.load import load_cluster

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
INVENTORY, OTHERS, POLICIES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_inventory_is_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY, encoding="utf-8")
    inventory, cluster = load_cluster(path)
    assert cluster.name == "office"
    assert {host.connection.address for host in inventory.hosts.values()} == {
        "192.0.2.10",
        "192.0.2.11",
        "192.0.2.21",
        "192.0.2.22",
    }


def test_a_cluster_of_kubeadms_is_written_so(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    hosts = "all:\n  children:\n    kube_control_plane: {hosts: {cp1: {ansible_host: 192.0.2.11}}}\n  vars:\n"
    section = OTHERS.replace("cluster:\n", "cluster:\n  name: theirs\n")
    path.write_text(hosts + textwrap.indent(section, " " * 4), encoding="utf-8")
    cluster = load_cluster(path)[1]
    assert cluster.existing is not None
    assert cluster.existing.preset == "kubeadm"
    assert cluster.nodes["cp1"].node


def test_its_policies_are_taken_under_calico(tmp_path: Path) -> None:
    inner = "        plugin: calico\n" + textwrap.indent(POLICIES, " " * 8)
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY.replace("        plugin: flannel\n", inner), encoding="utf-8")
    cluster = load_cluster(path)[1]
    assert [each.kind for each in cluster.network.policies] == ["deny", "isolate", "allow", "allow"]


@pytest.mark.parametrize("line", re.findall(r"^ {4}provision (.*?)(?:  .*)?$", TEXT, re.MULTILINE))
def test_a_command_is_one(line: str) -> None:
    name, *words = line.split()
    assert name in COMMANDS
    command = cli.get_command(None, name)  # type: ignore[arg-type]  # the context is not used
    assert command is not None
    first = words[0] if words else ""
    if first.startswith("--"):
        assert command.make_context(name, words).params, "its options are there, and take that"
        return
    assert first.endswith(".yaml") or name == "init" or first in getattr(command, "commands", {})


@pytest.mark.parametrize("target", re.findall(r"^ {4}make (\w+)", TEXT, re.MULTILINE))
def test_a_target_is_one(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_what_comes_after_the_first_apply_is_shown() -> None:
    shown = set(re.findall(r"^ {4}provision (\w+)", TEXT, re.MULTILINE))
    assert shown == set(COMMANDS)


def test_who_applies_as_often_as_is_said_has_no_certificate_that_ends() -> None:
    (days,) = re.findall(r"a run in their last (\d+) days", TEXT)
    (weeks,) = re.findall(r"apply\s+at least every (\d+) weeks", TEXT)
    assert int(days) == RENEW_DAYS
    assert int(weeks) * 7 < RENEW_DAYS


def test_pip_is_that_of_a_virtual_environment() -> None:
    assert {found.rpartition("/")[0] for found in re.findall(r"(\S*pip) install", TEXT)} == {".venv/bin"}
    assert "python3 -m venv .venv" in TEXT


def test_how_the_lab_is_moved() -> None:
    (words,) = re.findall(r"`provision (lab up [^`]*--subnet [^`]*)`", TEXT)
    _, _, path, *options = words.split()
    assert (ROOT / path).is_file()
    assert options[::2] == ["--name", "--subnet"]
    assert "make lab INVENTORY=" in TEXT
    assert "INVENTORY ?=" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_exit_codes() -> None:
    numbers, words = (
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in re.findall(r"^\| (?:exit code|means) .*$", TEXT, re.MULTILINE)
    )
    means = dict(zip(words, numbers, strict=True))
    assert means["the input is wrong"] == str(errors.InputError.exit_code)
    assert means["hosts unreachable"] == str(errors.UnreachableError.exit_code)
    assert means["another run is at work, or was meanwhile"] == str(errors.LockedError.exit_code)
    assert means["failed"] == str(errors.ProvisionError.exit_code)
