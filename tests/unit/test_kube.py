"""What kubectl printed, as states; what people are told of a broken network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.diff import diff
from provisioner.errors import InputError
from provisioner.kube.components import ComponentsKind, components
from provisioner.kube.join import NodeJoinedKind, _mark
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.marks import NodeMarksKind
from provisioner.kube.objects import diff_file, object_digest, object_key, split_first
from provisioner.kube.token import BootstrapKubeconfigKind, BootstrapToken, BootstrapTokenKind
from provisioner.resources.model import Absent, Change, Present, Resource, Unknown
from provisioner.resources.taken import taken
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
    record = '{"cp1":"label:x label:zone","worker1":"label:y"}'
    state = kind.parse(f"{line}\n==\n{record}".encode(), [resource])[resource.id]
    assert isinstance(state, Present)
    assert isinstance(resource.desired, Present)
    assert resource.desired.attrs == {
        "label:zone": "a",
        "taint:node-role.kubernetes.io/control-plane:NoSchedule": "",
        "marks": "label:zone taint:node-role.kubernetes.io/control-plane:NoSchedule",
    }
    assert state.attrs["label:zone"] == "b"
    assert state.attrs["marks"] == "label:zone", "of the wanted ones that which is on record"
    assert state.attrs["taint:node-role.kubernetes.io/control-plane:NoSchedule"] == ""
    assert kind.parse(b"", [resource])[resource.id] == Absent()
    assert kind.parse(b"cp1\t\t\n\n==\n", [resource])[resource.id] == Present({"marks": ""})


def test_nothing_that_a_kubelet_can_write_says_what_is_ours() -> None:
    """Its node's annotations are its own: they are not even read, and so make no rows of other nodes either."""
    kind = NodeJoinedKind(BootstrapToken())
    resources = [
        resource
        for args in ({"name": "cp1"}, {"name": "w1", "joining": True})
        for resource in kind.build(call("node_joined", **args))[:1]
    ]
    assert "annotations" not in kind.probe(resources).main
    state = kind.parse(b"cp1\t{}\t[]\n\n==\n{}", resources[:1])
    assert state == {"node_joined:cp1": Present({"marks": ""})}


def test_what_is_ours_is_noted_where_kubelets_do_not_write() -> None:
    kind = NodeJoinedKind(BootstrapToken())
    resource, _ = kind.build(call("node_joined", name="w1", labels={"a": "b"}))
    change = Change(resource, Present({"marks": ""}), "update", ("label:a", "marks"))
    lines = _mark(change, ("label:old",))
    assert any("label --overwrite node w1 a=b " in line for line in lines)
    assert lines[-1] == """note '{"data": {"w1": "label:a label:old"}}'""", (
        "what left goes with its own change"
    )


def test_what_left_while_the_api_server_was_down_goes_with_what_is_wanted() -> None:
    """Nothing was planned for it, as nobody could say what it is."""
    resource, wish = NodeJoinedKind(BootstrapToken()).build(call("node_joined", name="w1", labels={"a": "b"}))
    assert diff(wish, Unknown("down")) is None
    change = diff(resource, Unknown("down"))
    assert change is not None
    lines = _mark(change, ("label:old", "taint:x:NoSchedule"))
    assert any(" label node w1 old- " in line for line in lines)
    assert any(" taint node w1 x:NoSchedule- " in line for line in lines)
    assert lines[-1] == """note '{"data": {"w1": "label:a"}}'"""


def test_marks_that_left_are_a_delete_that_names_them() -> None:
    _, wish = NodeJoinedKind(BootstrapToken()).build(call("node_joined", name="w1", labels={"a": "b"}))
    kind = NodeMarksKind()
    state = kind.parse(b'{"w1": "label:a label:old taint:x:NoSchedule", "w2": "label:z"}', [wish])[wish.id]
    change = diff(wish, state)
    assert change is not None
    assert (change.action, taken(change)) == ("delete", "label:old, taint:x:NoSchedule")
    for nothing in (b"", b"{}", b'{"w1": "label:a"}'):
        assert diff(wish, kind.parse(nothing, [wish])[wish.id]) is None


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
    assert "rm -f /var/lib/kubelet/pki/kubelet-client.key.tmp" in made.main
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


def test_resources_of_one_manifest_have_a_digest_each() -> None:
    resource: Resource = ManifestKind().build(call("manifest", name="x", objects=[CONFIG, ROLE]))[0]
    assert isinstance(resource.desired, Present)
    assert list(resource.desired.attrs) == ["ConfigMap n/c", "ClusterRole r"]


@pytest.mark.parametrize(
    ("kind", "managers", "ours"),
    [
        ("Namespace", "provision", True),
        ("Namespace", "provision provision", True),
        ("Namespace", "kubectl-create provision", False),
        ("NetworkPolicy", "kubectl-edit provision", True),
        ("NetworkPolicy", "kubectl-create", False),
    ],
)
def test_a_namespace_of_somebody_is_not_taken_away(kind: str, managers: str, ours: bool) -> None:
    """That it is empty does not tell whose it is: it may have been there before it was written down in a spec."""
    wish = components([])
    row = f"{kind}\tv1\t\tshop\tpolicies\t{managers}\n"
    found = ComponentsKind().parse(row.encode(), [wish])[wish.id]
    assert found == (Present({"policies": (f"{kind} shop",)}) if ours else Absent())


@pytest.mark.parametrize(
    ("name", "goes"),
    [("ippools.crd.projectcalico.org", True), ("adminnetworkpolicies.policy.networking.k8s.io", False)],
)
def test_definitions_of_kubernetes_own_groups_are_not_taken_away(name: str, goes: bool) -> None:
    wish = components([])
    kind = "CustomResourceDefinition"
    row = f"{kind}\tapiextensions.k8s.io/v1\t\t{name}\tcalico\tprovision kube-apiserver\n"
    found = ComponentsKind().parse(row.encode(), [wish])[wish.id]
    assert found == (Present({"calico": (f"{kind}.apiextensions.k8s.io {name}",)}) if goes else Absent())
