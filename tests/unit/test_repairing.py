"""A node whose network was not mended goes on to keep pods away."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from cnioutput import cluster_output, node_output

from provisioner.action.load import Request, load
from provisioner.action.repair import Repair, repair
from provisioner.action.repairing import Mender
from provisioner.engine.events import Event, Failed
from provisioner.errors import InputError
from provisioner.kube.cnicluster import parse_cluster
from provisioner.kube.cnifaults import CONDITION, FAULTS, Seen, faults_of
from provisioner.kube.cniread import parse_node
from provisioner.remote.outcome import Result
from provisioner.shell.script import Script

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
CASE: dict[str, Any] = {
    "unavailable": True,
    "bridges": ["4: cni0    inet 10.244.7.1/24 scope global cni0\\"],
}


@dataclass
class Hosts:
    """All of them, by one session: the bridge can be mended or not, and the API server tells of the case's node."""

    bridge: int
    host: str = "here"
    scripts: list[str] = field(default_factory=list)

    def session(self, _: str) -> Hosts:
        return self

    def run(self, script: Script, **_: object) -> Result:
        self.scripts.append(script.main)
        is_bridge = "ip address" in script.main
        return Result(self.bridge if is_bridge else 0, cluster_output(CASE), b"no such link", 0.0)


def mended(hosts: Hosts, only: tuple[str, ...] = FAULTS) -> tuple[list[bool], list[str]]:
    """(which mends went well, why the condition's did not)"""
    told: list[Event] = []
    mender = Mender(cast("Any", None), cast("Any", hosts), told.append, "cp1")
    found = faults_of(Seen("worker1", parse_node(node_output(CASE)), parse_cluster(cluster_output(CASE))[0]))
    went = [mender.mend(each) for each in found if each.kind in only]
    return went, [each.reason for each in told if isinstance(each, Failed) and each.resource == CONDITION]


@pytest.mark.parametrize(("only", "went"), [(FAULTS, [False, False]), ((CONDITION,), [False])])
def test_the_condition_stays_while_the_bridge_is_not_mended(only: tuple[str, ...], went: list[bool]) -> None:
    hosts = Hosts(bridge=1)
    assert mended(hosts, only) == (went, ["NetworkUnavailable was left True: the node's cni0 is not mended"])
    assert not [each for each in hosts.scripts if "patch node" in each]


def test_it_goes_with_the_bridge_s_mend() -> None:
    hosts = Hosts(bridge=0)
    assert mended(hosts) == ([True, True], [])
    assert "patch node" in hosts.scripts[-1]


def test_who_is_no_node_has_no_pod_network_to_repair() -> None:
    loaded = load(Request(LAB, limit="registry1"))
    with pytest.raises(InputError, match="no host that 'registry1' matches is a node"):
        repair(loaded, Repair(), lambda _: None, lambda _: True)
