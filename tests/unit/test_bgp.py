"""Calico's route reflectors and mesh: what is read, in which order it changes, and when sessions are established."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bgpcluster import BGPCluster

from provisioner.errors import ProvisionError
from provisioner.kube import bgp
from provisioner.kube.bgp import CalicoMeshKind, CalicoReflectorsKind
from provisioner.kube.bgpsessions import parse, script
from provisioner.kube.kubectl import KUBECTL_EXEC
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook
from provisioner.resources.model import Change, Present, Resource
from provisioner.resources.task import TaskCall
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.load import load_cluster

ROOT = Path(__file__).parents[2]

ID, OTHER = "244.0.0.1", "244.0.0.2"
NODES = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes a second."""
    seconds = count()
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)), sleep=lambda _: None)
    monkeypatch.setattr(bgp, "time", clock)


def built(kind: CalicoReflectorsKind | CalicoMeshKind, **args: Any) -> Resource:
    agents = {"nodes": list(NODES), "daemons": "DaemonSet kube-system/calico-node"}
    args = {**agents, "operated": False, "families": ["IPv4"], **args}
    call = TaskCall(kind.name, args, "a", lambda _: ("p.yaml", 1, 1), lambda _, __: None, lambda _: "")
    (resource,) = kind.build(call)
    return resource


def run(cluster: BGPCluster, reflectors: Collection[str], *, meshed: bool, cluster_id: str = ID) -> list[str]:
    """What the tasks of playbooks/network.yaml change, in its order."""
    mesh, kind = CalicoMeshKind(), CalicoReflectorsKind()

    def turn(on: bool) -> None:
        if cluster.told.mesh is not on:
            change = Change(built(mesh, mesh=on), Present({"mesh": not on}), "update", ("mesh",))
            mesh.conduct([change], cluster)

    if meshed:
        turn(True)
    resource = built(kind, reflectors=list(reflectors), cluster_id=cluster_id)
    before = {node: cluster.told.clusters.get(node, "") for node in NODES}
    wanted = {node: cluster_id if node in reflectors else "" for node in NODES}
    assert resource.desired == Present(wanted)
    keys = tuple(node for node in NODES if before[node] != wanted[node])
    if keys:
        kind.conduct([Change(resource, Present(before), "update", keys)], cluster)
    if not meshed:
        turn(False)
    assert cluster.settled
    assert (cluster.told.mesh, cluster.told.clusters) == (meshed, dict.fromkeys(reflectors, cluster_id))
    return cluster.patches


WAYS = {
    "to reflectors": ((), ("a", "b"), [f"a {ID}", f"b {ID}", "mesh off"]),
    "all others": (("a", "b"), ("c", "d"), [f"c {ID}", f"d {ID}", "a ends", "b ends"]),
    "one moves": (("a", "b"), ("b", "c"), [f"c {ID}", "a ends"]),
    "back to the mesh": (("a", "b"), (), ["mesh on", "a ends", "b ends"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_order(way: str) -> None:
    """Who is to reflect comes first, and no step before the sessions of the last are established."""
    before, after, patches = WAYS[way]
    cluster = BGPCluster(NODES, dict.fromkeys(before, ID), mesh=not before)
    assert run(cluster, after, meshed=not after) == patches
    assert cluster.ready == (2 if not before or not after else 1), "agents run before sessions are counted"


def test_another_cluster_id_comes_to_one_after_the_other() -> None:
    """Each change of it ends the node's sessions, which have the same names afterwards."""
    cluster = BGPCluster(NODES, dict.fromkeys(("a", "b"), ID), mesh=False)
    assert run(cluster, ("a", "b"), meshed=False, cluster_id=OTHER) == [f"a {OTHER}", f"b {OTHER}"]


def test_one_that_dies_on_its_way_ends_where_it_was() -> None:
    """The sessions of who came are there before anybody leaves."""
    cluster = BGPCluster(NODES, dict.fromkeys(("a", "b"), ID), mesh=False, away=("d",))
    with pytest.raises(ProvisionError, match="not all BGP sessions are established") as caught:
        run(cluster, ("c", "d"), meshed=False)
    assert cluster.patches == [f"c {ID}"]
    assert "a: Node_10_0_0_4 BGP master start" in caught.value.reason
    assert "d: has no session with a" in caught.value.reason


def test_a_run_that_died_behind_the_mesh_is_taken_up_with_its_sessions() -> None:
    """It was turned on, and no node has read that yet."""
    cluster = BGPCluster(NODES, dict.fromkeys(("a", "b"), ID), mesh=False)
    cluster.told.mesh = True
    assert run(cluster, (), meshed=True) == ["a ends", "b ends"]


def test_the_mesh_does_not_go_on_its_own_sessions() -> None:
    """Peers that some nodes have, or none."""
    for peered in ((), (frozenset({"a", "b"}),)):
        cluster = BGPCluster(NODES, peered=peered)
        with pytest.raises(ProvisionError) as caught:
            run(cluster, (), meshed=False)
        assert cluster.patches == []
        assert ("a: has no session but the mesh's" in caught.value.reason) is (not peered)
        assert "c: has no session but the mesh's" in caught.value.reason


def test_the_mesh_goes_with_peers_of_the_spec() -> None:
    cluster = BGPCluster(NODES, peered=[frozenset({"a", each}) for each in "bcd"])
    assert run(cluster, (), meshed=False) == ["mesh off"]


def test_on_a_new_cluster_nobody_ends_what_it_never_began() -> None:
    """The plan was made before there were nodes."""
    cluster, kind = BGPCluster(NODES), CalicoReflectorsKind()
    resource = built(kind, reflectors=["b"], cluster_id=ID)
    kind.conduct([Change(resource, Present({}), "update", NODES)], cluster)
    assert cluster.patches == [f"b {ID}"]


def test_one_that_is_a_reflector_by_half_is_mended() -> None:
    cluster, kind = BGPCluster(NODES, {"b": ID}, half=("a", "d")), CalicoReflectorsKind()
    resource = built(kind, reflectors=["b", "d"], cluster_id=ID)
    kind.conduct([Change(resource, Present({}), "update", ("a", "d"))], cluster)
    assert cluster.patches == [f"d {ID}", "a ends"]


class Left:
    """A module of the stage that is not looked at here."""

    def build(self, task: TaskCall) -> list[Resource]:
        del task
        return []


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (BGP(), ["calico_mesh", "calico_reflectors"]),
        (BGP(route_reflectors=("cp1", "worker1")), ["calico_reflectors", "calico_mesh"]),
        (BGP(mesh=False, peers=(BGPPeer("a", peers="all()"),)), ["calico_reflectors", "calico_mesh"]),
    ],
)
def test_the_playbook_has_the_mesh_first_where_it_stays(options: BGP, wanted: list[str]) -> None:
    spec = load_cluster(ROOT / "inventories" / "lab.yaml")[1]
    pools = (IPPool("a", "10.244.0.0/16", "None"), IPPool("b", "fd00:244::/56", "None"))
    spec = replace(spec, network=replace(spec.network, calico=Calico(pools=pools, bgp=options)))
    kinds = {each.name: each for each in (CalicoMeshKind(), CalicoReflectorsKind())}
    modules = {**kinds, "artifact": Left(), "manifest": Left(), "file": Left(), "copy": Left()}
    playbook = load_playbook(ROOT / "playbooks" / "network.yaml", set(modules))
    variables = {
        "cluster": spec,
        "bgp": True,
        "bgp_families": list(spec.network.calico.routed_families),
        "node_names": list(NODES),
        "network_daemons": "DaemonSet calico-system/calico-node",
        "network_objects": [],
        "networks_kept": [],
    }
    (mesh_or_not, *_) = found = Compiler(playbook, modules).stage(playbook.stages[0], "cp1", variables)
    assert [each.kind for each in found] == wanted
    (mesh,) = [each for each in found if each.kind == "calico_mesh"]
    assert mesh.desired == Present({"mesh": mesh is mesh_or_not})
    agents = mesh.spec["agents"]
    assert (agents.namespace, agents.families) == ("calico-system", ("IPv4", "IPv6"))


def test_what_nodes_say() -> None:
    said = b"a\ttrue\t244.0.0.1\nb\t\t\nc\ttrue\t\nd\t\t244.0.0.1\n"
    resource = built(CalicoReflectorsKind(), reflectors=["a"], cluster_id=ID)
    (state,) = CalicoReflectorsKind().parse(said, [resource]).values()
    assert state == Present({"a": "244.0.0.1", "b": "", "c": "half", "d": "half"})


@pytest.mark.parametrize(("said", "mesh"), [(b"", True), (b"true", True), (b"false\n", False)])
def test_the_mesh_is_there_unless_it_is_turned_off(said: bytes, mesh: bool) -> None:
    wanted = built(CalicoMeshKind(), mesh=True)
    assert CalicoMeshKind().parse(said, [wanted]) == {wanted.id: Present({"mesh": mesh})}


HEAD = """mesh {mesh}
node\ta\t{label}\t{id}\t10.0.0.1/24\tfd00:98::1/64
node\tb\t\t\t10.0.0.11/24\tfd00:98::11/64
node\tz\t\t\t10.0.0.99/24\t
"""
UP = "{} BGP master up 09:00:00 Established\n"


def missing(head: str, nodes: Collection[str], *blocks: str) -> list[str]:
    return parse(head + "".join(f"={each}" for each in blocks)).missing(tuple(nodes))


def test_sessions_by_their_names() -> None:
    meshed = HEAD.format(mesh="", label="", id="")
    one, two = "a bird\n" + UP.format("Mesh_10_0_0_11"), "b bird\n" + UP.format("Mesh_10_0_0_1")
    assert missing(meshed, "ab", one, two) == []
    assert missing(meshed, "ab", one) == ["b: has no session with a of the mesh"]
    assert missing(meshed, "abc", one, two) == ["c: Calico knows no address of it, or of one IP family alone"]
    down = "Mesh_10_0_0_99 BGP master start 09:00:00 Active Socket: Connection refused"
    assert missing(meshed, "ab", f"{one}{down}\n", two) == [], "that node is none of ours"
    router = "Node_10_0_0_254 BGP master start 09:00:00 Active Socket: Connection refused"
    assert missing(meshed, "ab", f"{one}{router}\n", two) == [], "it is none of the nodes"
    told = parse(f"{meshed}={one}{router}\n={two}").missing("ab", without_mesh=True)
    assert f"a: {router}" in told, "but it may be who knows the way when the mesh is gone"
    reflected = HEAD.format(mesh="false", label="true", id=ID)
    ported = ("a bird\n" + UP.format("Node_10_0_0_11_port_178"), "b bird\n" + UP.format("Global_10_0_0_1"))
    assert missing(reflected, "ab", *ported) == []
    assert missing(reflected, "ab", ported[0], "b bird\n" + UP.format("Node_10_0_0_10")) == [
        "b: has no session with a"
    ]
    assert missing(reflected, "ab", ported[0], two) == [
        "b: has no session with a",
        "b: still has the mesh's session with a",
        "b: has no session but the mesh's",
    ]


def test_sessions_of_both_families() -> None:
    meshed = HEAD.format(mesh="true", label="", id="")
    four = ("a bird\n" + UP.format("Mesh_10_0_0_11"), "b bird\n" + UP.format("Mesh_10_0_0_1"))
    six = ("a bird6\n" + UP.format("Mesh_fd00_98__11"), "b bird6\n" + UP.format("Mesh_fd00_98__1"))
    assert missing(meshed, "ab", *four, *six) == []
    assert "z: Calico knows no address" in missing(meshed, "abz", *four, *six)[-1], "it has no IPv6 address"
    assert missing(meshed, "ab", *four, six[0], "b bird6\n") == ["b: has no session with a of the mesh"]


def test_both_families_are_asked_for_by_the_program_as_it_is() -> None:
    """What is put in for the families has no part in kubectl's own variables."""
    text = script("kube-system", ["IPv4", "IPv6"])
    assert "for socket in bird bird6; do" in text
    assert KUBECTL_EXEC in text
