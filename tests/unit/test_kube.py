"""What kubectl printed, as states; what people are told of a broken network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import InputError
from provisioner.kube.check_objects import check_objects
from provisioner.kube.join import NodeJoinedKind, _mark
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.objects import diff_file, object_digest, object_key, split_first
from provisioner.kube.token import BootstrapKubeconfigKind, BootstrapToken, BootstrapTokenKind
from provisioner.kube.traffic import Broken, Pod, Target, TrafficCheck, _failure, _judge, _strangers
from provisioner.resources.model import Absent, Change, Present, Resource, Unknown
from provisioner.resources.task import TaskCall
from provisioner.spec.model import CONTROL_PLANE_TAINT

ROOT = Path(__file__).resolve().parents[2]


def call(module: str, **args: Any) -> TaskCall:
    return TaskCall(module, args, "cp1", lambda _k: ("p.yaml", 1, 1), lambda _f, _n: None, lambda _p: "")


CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c", "namespace": "n"},
    "data": {"a": "1"},
}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


def test_names_of_objects() -> None:
    assert [object_key(item) for item in (CONFIG, ROLE)] == ["ConfigMap n/c", "ClusterRole r"]
    assert diff_file(CONFIG) == "v1.ConfigMap.n.c"
    assert diff_file(ROLE) == "rbac.authorization.k8s.io.v1.ClusterRole..r"
    assert split_first([CONFIG, SPACE, ROLE]) == ([SPACE], [CONFIG, ROLE])
    assert object_digest(CONFIG) != object_digest({**CONFIG, "data": {"a": "2"}})


def test_a_node_with_labels_and_taints() -> None:
    kind = NodeJoinedKind(BootstrapToken())
    args = {"name": "cp1", "labels": {"zone": "a"}, "taints": (CONTROL_PLANE_TAINT,)}
    resource = kind.build(call("node_joined", **args))[0]
    taints = '[{"key":"node-role.kubernetes.io/control-plane","effect":"NoSchedule"}]'
    line = f'cp1\t{{"zone":"b","x":"y"}}\t{taints}\n'
    record = '{"cp1":"label:x","worker1":"label:y"}'
    state = kind.parse(f"{line}\n==\n{record}".encode(), [resource])[resource.id]
    assert isinstance(state, Present)
    assert isinstance(resource.desired, Present)
    assert resource.desired.attrs == {
        "label:zone": "a",
        "taint:node-role.kubernetes.io/control-plane:NoSchedule": "",
        "marks": "label:zone taint:node-role.kubernetes.io/control-plane:NoSchedule",
    }
    assert state.attrs["label:zone"] == "b"
    assert state.attrs["marks"] == "label:x"
    assert state.attrs["taint:node-role.kubernetes.io/control-plane:NoSchedule"] == ""
    assert kind.parse(b"", [resource])[resource.id] == Absent()
    assert kind.parse(b"cp1\t\t\n\n==\n", [resource])[resource.id] == Present({"marks": ""})


def test_nothing_that_a_kubelet_can_write_says_what_is_ours() -> None:
    """Its node's annotations are its own: they are not even read, and so make no rows of other nodes either."""
    kind = NodeJoinedKind(BootstrapToken())
    resources = [
        resource
        for args in ({"name": "cp1"}, {"name": "w1", "joining": True})
        for resource in kind.build(call("node_joined", **args))
    ]
    assert "annotations" not in kind.probe(resources).main
    state = kind.parse(b"cp1\t{}\t[]\n\n==\n{}", resources[:1])
    assert state == {"node_joined:cp1": Present({"marks": ""})}


def test_what_is_ours_is_noted_where_kubelets_do_not_write() -> None:
    kind = NodeJoinedKind(BootstrapToken())
    (resource,) = kind.build(call("node_joined", name="w1", labels={"a": "b"}))
    lines = _mark(resource, "label:old")
    assert any("label --overwrite node w1 a=b old- " in line for line in lines)
    assert lines[-1] == """note '{"data": {"w1": "label:a"}}'"""


def test_the_token_is_in_no_script_and_no_plan() -> None:
    token = BootstrapToken()
    secret = token.secret.reveal()
    kind = BootstrapTokenKind(token)
    resource = kind.build(call("bootstrap_token"))[0]
    script = kind.change(Change(resource, Absent(), "create"))
    assert secret not in script.main
    assert all(blob.secret for blob in script.payload.values())
    file_kind = BootstrapKubeconfigKind(token)
    args = {"dest": "/etc/kubernetes/b", "server": "https://x:6443", "authority": "/ca"}
    file = file_kind.build(call("bootstrap_kubeconfig", **args))[0]
    made = file_kind.change(Change(file, Absent(), "create"))
    assert secret not in made.main + file_kind.probe([file]).main
    assert secret.encode() in (made.payload["content"].data or b"")
    assert secret not in repr([resource, file, script, made])


def test_objects_without_a_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"metadata\.name"):
        ManifestKind().build(call("manifest", name="x", objects=[{"kind": "ConfigMap", "apiVersion": "v1"}]))


def test_only_what_differs_is_applied() -> None:
    kind = ManifestKind()
    resource = kind.build(call("manifest", name="x", objects=[CONFIG, ROLE, SPACE]))[0]
    whole = kind.change(Change(resource, Absent(), "create", tuple(resource.desired.attrs)))  # type: ignore[union-attr]
    assert sorted(whole.payload) == ["first.json", "rest.json"]
    part = kind.change(Change(resource, Present({}), "update", ("ConfigMap n/c",)))
    assert sorted(part.payload) == ["rest.json"]
    assert b"ClusterRole" not in (part.payload["rest.json"].data or b"")
    unknown = kind.change(Change(resource, Unknown("API is not up"), "update"))
    assert sorted(unknown.payload) == ["first.json", "rest.json"]


POD = Pod("asker-x", "worker1", "asker", ("10.244.1.2",))
TARGETS = [
    Target("service", "10.96.0.9:80"),
    Target("node-port", "10.98.0.22:30080", "worker2"),
    Target("dns", "a.b:80"),
]


def test_silence_is_a_failure() -> None:
    assert (
        _judge(POD, TARGETS, ["ok service 10.96.0.9:80", "ok node-port 10.98.0.22:30080", "ok dns a.b:80"])
        == []
    )
    broken = _judge(
        POD, TARGETS, ["ok service 10.96.0.9:80", "bad node-port 10.98.0.22:30080 TIMEOUT", "error: pod gone"]
    )
    assert broken == [Broken(POD, TARGETS[1], "TIMEOUT"), Broken(POD, TARGETS[2], "error: pod gone")]
    assert [each.said for each in _judge(POD, TARGETS, [])] == ["no answer"] * 3


def test_people_are_told_who_does_not_reach_whom() -> None:
    text = str(_failure(_judge(POD, TARGETS, ["bad node-port 10.98.0.22:30080 TIMEOUT"])))
    assert "worker1 (pod) → node-port 10.98.0.22:30080 on worker2: TIMEOUT" in text
    assert text.startswith("3 connections do not work")


ADDRESSES = {"cp1": "10.98.0.11", "worker1": "10.98.0.21", "worker2": "10.98.0.22"}
SERVICES = {
    "node-port": {"ports": [{"nodePort": 30080}]},
    "cluster-ip-000000abcd": {"clusterIP": "10.96.0.9"},
}


def asked(nodes: Sequence[str], touched: Sequence[str] = ()) -> dict[str, list[Target]]:
    """What each pod of a check asks, by the pod's name."""
    here = {node: ADDRESSES[node] for node in nodes}
    check = TrafficCheck("agnhost", here, "cluster.local", "20260101-000000-abcd", touched)
    pods = [
        Pod(f"{role}-{node}", node, role, (f"10.244.{i}.{j}",))
        for i, node in enumerate(nodes)
        for j, role in enumerate(("asker", "answerer", "host"))
    ]
    return {pod.name: check._targets(pod, pods, SERVICES) for pod in pods}


def test_every_node_asks_every_other() -> None:
    found = asked(["worker1", "worker2"])
    kinds = {name: sorted(each.kind for each in targets) for name, targets in found.items()}
    assert kinds["asker-worker1"] == ["dns", "node-port", "other-node", "same-node", "service"]
    assert kinds["host-worker2"] == ["node-port", "service"]
    ports = [each for each in found["host-worker1"] if each.kind == "node-port"]
    assert ports == [Target("node-port", "10.98.0.22:30080", "worker2")]
    (name,) = [each.address for each in found["asker-worker1"] if each.kind == "dns"]
    assert name == "cluster-ip-000000abcd.provision-check.svc.cluster.local:80"


def test_a_limited_check_asks_only_for_what_touches_the_limit() -> None:
    found = asked(["worker1", "cp1"], ["worker1"])
    about = {name: {(each.kind, each.node) for each in targets} for name, targets in found.items()}
    common = {("service", ""), ("dns", "")}
    assert about["asker-worker1"] == common | {
        ("same-node", "worker1"),
        ("other-node", "cp1"),
        ("node-port", "cp1"),
    }
    assert about["asker-cp1"] == common | {("other-node", "worker1"), ("node-port", "worker1")}
    assert about["host-cp1"] == {("service", ""), ("node-port", "worker1")}


def test_a_limited_check_has_its_pods_on_its_nodes_only() -> None:
    sets = [each for each in check_objects("run", "image", ["a", "b"]) if each["kind"] == "DaemonSet"]
    for each in sets:
        affinity = each["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert [term["matchFields"][0]["values"] for term in terms] == [["a"], ["b"]]
    assert len(sets) == 3
    assert "affinity" not in check_objects("run", "image")[0]["spec"]["template"]["spec"]


def test_the_namespace_of_the_check_is_made_by_the_playbook() -> None:
    text = (ROOT / "templates/cluster/admission.yaml.j2").read_text(encoding="utf-8")
    (space,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "Namespace"]
    assert {each["metadata"]["namespace"] for each in check_objects("run", "image")} == {
        space["metadata"]["name"]
    }
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_nodes_that_the_inventory_does_not_name() -> None:
    assert _strangers(set()) == ""
    assert _strangers({"worker4", "worker3"}) == "; not in the inventory: worker3, worker4"


def test_resources_of_one_manifest_have_a_digest_each() -> None:
    resource: Resource = ManifestKind().build(call("manifest", name="x", objects=[CONFIG, ROLE]))[0]
    assert isinstance(resource.desired, Present)
    assert list(resource.desired.attrs) == ["ConfigMap n/c", "ClusterRole r"]
