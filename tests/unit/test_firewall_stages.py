"""The order in which a host's firewall is opened and closed: what the network of before uses closes behind its gate."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment, StrictUndefined
from test_firewall import facts

from provisioner.action.kinds import base_modules
from provisioner.action.modules import CLUSTER_MODULES
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook, shipped
from provisioner.playbook.model import Playbook

UNIT = "systemd:provision-firewall-settled.service"
SCRIPT = "/opt/kubernetes/bin/provision-firewall"


def book(name: str) -> Playbook:
    return load_playbook(shipped("playbooks") / f"{name}.yaml", {*base_modules(), *CLUSTER_MODULES})


@pytest.mark.parametrize(("name", "gate"), [("site", "network_ready"), ("existing", "")])
def test_it_closes_behind_the_gate_of_the_network(name: str, gate: str) -> None:
    stages = book(name).stages
    names = [each.name for each in stages]
    settled = names.index("firewall settled")
    assert names.index("firewall") < settled
    gates = [index for index, each in enumerate(stages) if each.gate == gate]
    assert not gate or gates[0] < settled
    assert settled < max(index for index, each in enumerate(stages) if each.gate), "what is closed is proved"
    assert stages[settled].tags != stages[names.index("firewall")].tags


@pytest.mark.parametrize(
    ("word", "at_work", "there"), [("manage", "ufw", True), ("manage", "", False), ("check", "ufw", False)]
)
def test_it_settles_again_whenever_the_script_is_another(word: str, at_work: str, there: bool) -> None:
    modules = base_modules()
    playbook = load_playbook(shipped("playbooks") / "firewall-settled.yaml", set(modules))
    (stage,) = playbook.stages
    variables: dict[str, Any] = {"cluster": {"firewall": word}, "facts": facts(firewall=at_work)}
    found = {each.id: each for each in Compiler(playbook, modules).stage(stage, "worker1", variables)}
    assert (UNIT in found) is there
    if there:
        assert SCRIPT in found[UNIT].inputs


@pytest.mark.parametrize(
    ("plugin", "there"), [("calico", True), ("canal", True), ("flannel", False), ("cilium", False)]
)
def test_calicoctl_is_for_those_who_have_calico(plugin: str, there: bool) -> None:
    stage = next(each for each in book("site").stages if each.name == "network")
    task = next(each for each in stage.tasks if each.module == "artifact")
    (condition,) = task.when
    holds = Environment(undefined=StrictUndefined).compile_expression(condition)  # noqa: S701 (no HTML)
    assert task.args["name"] == "calicoctl"
    assert holds(cluster={"network": {"plugin": plugin}}) is there
