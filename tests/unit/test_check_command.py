"""`provision check`: what is told of everything at once, and with which exit code. No host is reached by any of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_command_line import Desk, desk  # noqa: F401  # a fixture

from provisioner.action.admission import joined
from provisioner.action.newcomers import newcomers
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.load import load_cluster

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"


def test_faults_of_several_sorts_are_told_together() -> None:
    problem = Problem("i.yaml", 3, 1, "too much", "less")
    both = joined([ProvisionError("a: x", "do x"), InputError([problem]), ProvisionError("b: y", "do x")])
    assert both.reason.splitlines() == ["i.yaml:3:1: too much (less)", "a: x", "b: y"]
    assert (both.hint, both.exit_code) == ("do x", 1)
    assert joined([InputError([problem])]).exit_code == 3


def test_a_wrong_spec_reaches_no_host(desk: Desk) -> None:  # noqa: F811
    said = desk.type("check", desk.spec(**{"10.244.0.0/16": "10.244.0.0.0/16"}), "--json")
    assert said.status == 3
    assert "10.244.0.0.0/16" in said.error["problems"][0]["reason"]


def test_newcomers_are_nodes_that_have_not_joined_and_others_without_anything_of_ours() -> None:
    _, spec = load_cluster(LAB)
    bare = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "eth0")
    ours = Facts("amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "eth0", owned="x")
    node = Facts(
        "amd64", "6", "h", "debian", "12", 0.0, False, 1, {}, "eth0", owned="x", kubelet_certificate="x"
    )
    facts = {"registry1": ours, "cp1": node, "worker1": ours, "worker2": bare}
    assert newcomers(spec, facts) == ["worker1", "worker2"]
    assert newcomers(spec, {**facts, "registry1": bare})[0] == "registry1"
    assert newcomers(spec, dict.fromkeys(facts, node)) == []


@pytest.mark.parametrize("word", ["--tags", "--yes"])
def test_it_has_no_part_of_a_run(desk: Desk, word: str) -> None:  # noqa: F811
    assert desk.type("check", word).status == 3
