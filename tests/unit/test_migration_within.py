"""What a change inside Calico has its pools be in between."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from migrations import CALICO, Plane, change

from provisioner.action.migration.running import Run
from provisioner.action.migration.within import check_within, sessionless, with_tunnel
from provisioner.errors import InputError
from provisioner.network.calicoresources import pool_object
from provisioner.spec.calico import IPPool


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    return Plane(tmp_path, request.param)


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


SMALL = {
    **CALICO,
    "calico": {"pools": [{"name": "small", "cidr": "10.244.64.0/18", "block_size": 28}]},
}


@pytest.mark.parametrize("pools", ["same", "others"])
def test_the_encapsulation_and_the_pools_change_one_after_the_other(plane: Plane, pools: str) -> None:
    plain = {**CALICO["calico"], **(SMALL["calico"] if pools == "others" else {}), "encapsulation": "None"}
    session = plane.answer(pods="")
    run = SimpleNamespace(
        change=change(CALICO, {**CALICO, "calico": plain}), plane=session, emit=lambda _: None
    )
    refused = pytest.raises(InputError, match=r"from VXLAN to BGP, and pools end \(pods-second\)")
    with refused if pools == "others" else nullcontext():
        check_within(cast("Run", run))


@pytest.mark.parametrize(("how", "refused"), [({}, True), ({"reverses": True}, False)])
def test_a_move_of_pools_is_taken_back_though_nodes_still_have_blocks_of_the_former_one(
    plane: Plane, how: dict[str, Any], refused: bool
) -> None:
    back = change(SMALL, CALICO, **how)
    session = plane.answer(blocks="10.244.128.0/26", pods="")
    run = SimpleNamespace(change=back, plane=session, emit=lambda _: None)
    with pytest.raises(InputError, match="have blocks of the former pool") if refused else nullcontext():
        check_within(cast("Run", run))
