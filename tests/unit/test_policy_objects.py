"""Policies of the spec become plain NetworkPolicies, the same ones each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.action.kinds import base_modules
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.objects import list_json, object_key
from provisioner.network.policies import policy_objects
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook
from provisioner.spec.load import load_cluster
from provisioner.spec.policies import Policy
from provisioner.spec.policywords import ports

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
BASE = (DATA / "spec" / "base.yaml").read_text()
CASES: list[dict[str, Any]] = yaml.safe_load((DATA / "policies" / "rendered.yaml").read_text())


def policies_of(written: list[Any], folder: Path) -> tuple[Policy, ...]:
    inventory = yaml.safe_load(BASE)
    inventory["all"]["vars"]["cluster"]["network"] |= {"plugin": "calico", "policies": written}
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump(inventory, sort_keys=False))
    return load_cluster(path)[1].network.policies


@pytest.mark.parametrize("case", CASES, ids=[each["name"] for each in CASES])
def test_what_they_become(case: dict[str, Any], tmp_path: Path) -> None:
    made = policy_objects(policies_of(case["policies"], tmp_path))
    assert [each for each in made if each["kind"] == "Namespace"] == [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in case["namespaces"]
    ]
    rules = [each for each in made if each["kind"] == "NetworkPolicy"]
    assert all(each["apiVersion"] == "networking.k8s.io/v1" for each in rules)
    assert made[len(case["namespaces"]) :] == rules, "namespaces come first"
    assert {object_key(each).partition(" ")[2]: each["spec"] for each in rules} == case["specs"]


def test_the_order_of_the_spec_changes_nothing(tmp_path: Path) -> None:
    written: list[dict[str, Any]] = [
        {"name": "b", "kind": "deny", "namespaces": ["shop", "bank"]},
        {
            "name": "a",
            "namespaces": ["shop"],
            "pods": {"x": "1", "a": "2"},
            "from": [{"namespaces": ["n", "m"]}],
        },
    ]
    turned = [
        {**written[1], "pods": {"a": "2", "x": "1"}, "from": [{"namespaces": ["m", "n"]}]},
        {**written[0], "namespaces": ["bank", "shop"]},
    ]
    one, other = (policy_objects(policies_of(each, tmp_path)) for each in (written, turned))
    assert list_json(one) == list_json(other)
    assert list(map(object_key, one)) == [
        "Namespace bank",
        "Namespace shop",
        "NetworkPolicy bank/b",
        "NetworkPolicy shop/a",
        "NetworkPolicy shop/b",
    ]


def test_no_policies_are_no_objects(tmp_path: Path) -> None:
    assert policy_objects(policies_of([], tmp_path)) == []


@pytest.mark.parametrize(
    ("written", "first", "last", "protocol"),
    [
        (8080, 8080, 8080, "TCP"),
        ("443", 443, 443, "TCP"),
        ("53/udp", 53, 53, "UDP"),
        ("8000-8100", 8000, 8100, "TCP"),
        ("1-65535/SCTP", 1, 65535, "SCTP"),
    ],
)
def test_ports(written: Any, first: int, last: int, protocol: str) -> None:
    found = ports(written)
    assert (found.first, found.last, found.protocol) == (first, last, protocol)


def test_the_addons_have_them_where_there_are_some(tmp_path: Path) -> None:
    """Without any there is no manifest, so that what is left of an earlier one is taken away."""
    modules = {**base_modules(), "manifest": ManifestKind()}
    playbook = load_playbook(ROOT / "playbooks" / "addons.yaml", set(modules))
    cluster = load_cluster(ROOT / "inventories" / "lab.yaml")[1]
    known = {"cluster": cluster, "corefile": "", "coredns_image": "x"}
    made = policy_objects(policies_of([{"name": "deny", "kind": "deny", "namespaces": ["shop"]}], tmp_path))
    for objects, names in ((made, ["coredns", "policies"]), ([], ["coredns"])):
        compiler = Compiler(playbook, modules)
        resources = compiler.stage(playbook.stages[0], "cp1", {**known, "policy_objects": objects})
        assert [each.name for each in resources] == names
    labels = {"provision.dev/component": "policies"}
    (policies,) = compiler.stage(playbook.stages[0], "cp1", {**known, "policy_objects": made})[1:]
    assert all(each["metadata"]["labels"] == labels for each in policies.spec["objects"])
