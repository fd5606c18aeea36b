"""What a change inside Calico has its pools be in between."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.action.migration.within import sessionless, with_tunnel
from provisioner.network.calicoresources import pool_object
from provisioner.spec.calico import IPPool


def pool(name: str, encapsulation: str) -> IPPool:
    return IPPool(name=name, cidr="10.244.0.0/16", encapsulation=encapsulation)


@pytest.mark.parametrize(
    ("tunnel", "other", "mode"),
    [
        ("VXLAN", "None", "CrossSubnet"),
        ("VXLANCrossSubnet", "None", "CrossSubnet"),
        ("VXLAN", "IPIPCrossSubnet", "CrossSubnet"),
        ("VXLAN", "IPIP", "Always"),
    ],
)
def test_between_vxlan_and_bgp_nobody_uses_a_tunnel_whose_other_end_may_be_gone(
    tunnel: str, other: str, mode: str
) -> None:
    objects = [pool_object(pool("one", other)), pool_object(pool("only-there", other)), {"kind": "ConfigMap"}]
    found = with_tunnel(objects, (pool("one", tunnel),), (pool("one", other), pool("only-there", other)))
    assert (found[0]["spec"]["vxlanMode"], found[0]["spec"]["ipipMode"]) == (mode, "Never")
    assert found[1:] == objects[1:]


def test_agents_are_ready_without_sessions_that_come_later() -> None:
    def agent(*asked: str) -> dict[str, Any]:
        probe = {"exec": {"command": ["/bin/calico-node", *asked]}, "periodSeconds": 10}
        containers = [{"name": "calico-node", "readinessProbe": probe}, {"name": "other"}]
        return {"kind": "DaemonSet", "spec": {"template": {"spec": {"containers": containers}}}}

    for asked in (("-bird-ready", "-felix-ready"), ("-felix-ready", "-bird-ready", "-bird6-ready")):
        before = agent(*asked)
        assert sessionless([before, {"kind": "ConfigMap"}]) == [agent("-felix-ready"), {"kind": "ConfigMap"}]
        assert before == agent(*asked), "the objects themselves stay"
