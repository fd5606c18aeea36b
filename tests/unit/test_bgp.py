"""Calico's route reflectors and mesh: what is read, in which order it changes, and when sessions are established."""

from __future__ import annotations

import pytest

from provisioner.kube.bgp import CalicoMeshKind, CalicoReflectorsKind, _missing
from provisioner.resources.model import Change, Present, Resource

NODES = Resource("calico_reflectors", "nodes", Present({"a": "244.0.0.1", "b": ""}))


def test_what_nodes_say() -> None:
    said = b"a\ttrue\t244.0.0.1\nb\t\t\nc\ttrue\t\nd\t\t244.0.0.1\n"
    (state,) = CalicoReflectorsKind().parse(said, [NODES]).values()
    assert state == Present({"a": "244.0.0.1", "b": "", "c": "half", "d": "half"})


def test_a_node_gets_its_sessions_before_it_leaves_the_mesh() -> None:
    before = Present({"a": "", "b": "244.0.0.1"})
    lines = CalicoReflectorsKind().change(Change(NODES, before, "update", ("a", "b"))).main.splitlines()
    first, second, third, fourth = lines
    assert " label node a " in first
    assert "route-reflector=true" in first
    assert " annotate node a " in second
    assert third.endswith("--overwrite route-reflector- >/dev/null")
    assert "RouteReflectorClusterID-" in fourth


@pytest.mark.parametrize(("said", "mesh"), [(b"", True), (b"true", True), (b"false\n", False)])
def test_the_mesh_is_there_unless_it_is_turned_off(said: bytes, mesh: bool) -> None:
    wanted = Resource("calico_mesh", "default", Present({"mesh": True}))
    assert CalicoMeshKind().parse(said, [wanted]) == {wanted.id: Present({"mesh": mesh})}


UP = "Mesh_{} BGP master up 09:00:00 Established"
BLOCK = """=calico-node-{0} 10.0.0.{0}
BIRD 1.6.8 ready.
name proto table state since info
static1 Static master up 09:00:00
"""


def test_sessions() -> None:
    def pod(number: int, *others: str) -> str:
        return BLOCK.format(number) + "".join(f"{each}\n" for each in others)

    one, two = pod(1, UP.format("10_0_0_2")), pod(2, UP.format("10_0_0_1"))
    assert _missing(one + two, (), 2) == []
    assert _missing(one, (), 2) == ["1 of 2 calico-node pods are there"]
    assert _missing(one + pod(2), (), 2) == ["calico-node-2: has no session"]
    started = "Node_10_0_0_1 BGP master start 09:00:00 Active Socket: Connection refused"
    assert _missing(one + pod(2, started), (), 2) == [f"calico-node-2: {started}"]
    assert _missing(one + two, ("10.0.0.1",), 2) == [], "the reflector has none with itself"
    ported = "Node_10_0_0_1_port_179 BGP master up 09:00:00 Established"
    assert _missing(one + pod(2, ported), ("10.0.0.1",), 2) == []
    assert _missing(one + pod(2, UP.format("10_0_0_11")), ("10.0.0.1",), 2) == [
        "calico-node-2: has no session with 10.0.0.1"
    ]
    assert _missing(one + two, ("10.0.0.3",), 2) == [
        "calico-node-1: has no session with 10.0.0.3",
        "calico-node-2: has no session with 10.0.0.3",
    ]
