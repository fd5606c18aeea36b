"""Tolerations, resources and probes of the network plug-in's own pods."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paperbundle import FLANNEL
from papercilium import paper_cilium

from provisioner.errors import ProvisionError
from provisioner.kube.objects import object_key
from provisioner.network import cilium, flannel
from provisioner.network.patches import parse_manifest, patch
from provisioner.network.podsettings import pod_edits
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

ROOT = Path(__file__).parents[2]
BASE = (ROOT / "tests/data/spec/base.yaml").read_text()
UPSTREAM = parse_manifest(
    """
kind: DaemonSet
metadata: {name: agent, namespace: net}
spec:
  template:
    spec:
      tolerations: [{effect: NoSchedule, operator: Exists}]
      initContainers: [{name: install, image: a}]
      containers:
      - name: node
        image: a
        resources: {requests: {cpu: 250m}}
        livenessProbe: {exec: {command: [live]}, periodSeconds: 10}
        readinessProbe: {exec: {command: [ready]}}
---
kind: Deployment
metadata: {name: controller, namespace: net}
spec: {template: {spec: {containers: [{name: controller, image: b}]}}}
---
kind: ConfigMap
metadata: {name: config, namespace: net}
""",
    "x",
)
SECTION = """
        pods:
          tolerations: ["dedicated=infra:NoSchedule", {key: gpu, effect: NoExecute}]
          containers:
            node:
              requests: {memory: 200Mi}
              limits: {memory: 1Gi}
              liveness: {timeout: 10, failures: 6}
              readiness: {period: 30}
            install: {limits: {cpu: "1"}}
"""


def cluster(folder: Path, section: str = SECTION) -> ClusterSpec:
    path = folder / "inventory.yaml"
    path.write_text(BASE.replace("      network:\n", f"      network:{section}", 1))
    return load_cluster(path)[1]


def made(spec: ClusterSpec, upstream: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    changed = patch(upstream, pod_edits(spec, upstream), "x")
    return {object_key(each): each for each in changed}


def test_all_pods_bear_the_taints_and_containers_have_their_part(tmp_path: Path) -> None:
    before = copy.deepcopy(UPSTREAM)
    found = made(cluster(tmp_path), UPSTREAM)
    more = [
        {"key": "dedicated", "operator": "Equal", "value": "infra", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
    ]
    agent, controller = (
        found[f"{name}"]["spec"]["template"]["spec"]
        for name in ("DaemonSet net/agent", "Deployment net/controller")
    )
    assert agent["tolerations"] == [{"effect": "NoSchedule", "operator": "Exists"}, *more]
    assert controller["tolerations"] == more
    (node,) = agent["containers"]
    assert node["resources"] == {"requests": {"cpu": "250m", "memory": "200Mi"}, "limits": {"memory": "1Gi"}}
    assert node["livenessProbe"] == {
        "exec": {"command": ["live"]},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
        "failureThreshold": 6,
    }
    assert node["readinessProbe"]["periodSeconds"] == 30
    assert agent["initContainers"][0]["resources"] == {"limits": {"cpu": "1"}}
    assert "resources" not in controller["containers"][0]
    assert found["ConfigMap net/config"] == UPSTREAM[2]
    assert before == UPSTREAM


@pytest.mark.parametrize(
    ("section", "reason", "hint"),
    [
        ("nod: {limits: {cpu: 1m}}", "the manifest has no container nod", "did you mean 'node'?"),
        ("controller: {liveness: {period: 5}}", "liveness: controller has no such probe", "has node"),
        ("node: {limits: {cpu: 100m}}", "cpu: node asks for 250m in the manifest", "at least 250m"),
    ],
)
def test_what_no_pod_has_is_an_error(tmp_path: Path, section: str, reason: str, hint: str) -> None:
    spec = cluster(tmp_path, f"\n        pods: {{containers: {{{section}}}}}\n")
    with pytest.raises(ProvisionError) as caught:
        made(spec, UPSTREAM)
    assert reason in caught.value.reason
    assert hint in caught.value.hint


def test_without_a_word_nothing_is_changed(tmp_path: Path) -> None:
    assert list(pod_edits(cluster(tmp_path, "\n"), UPSTREAM)) == []


def test_each_plug_in_has_it(tmp_path: Path) -> None:
    said = (
        "\n        pods: {{tolerations: ['a:NoSchedule'], containers: {{{}: {{limits: {{memory: 1Gi}}}}}}}}\n"
    )
    borne = {"key": "a", "operator": "Exists", "effect": "NoSchedule"}

    def pods(objects: list[dict[str, Any]], key: str) -> dict[str, Any]:
        (found,) = (each for each in objects if object_key(each) == key)
        pod: dict[str, Any] = found["spec"]["template"]["spec"]
        return pod

    spec = cluster(tmp_path, said.format("kube-flannel"))
    pod = pods(flannel.objects(spec, parse_manifest(FLANNEL, "x"), lambda image: image), flannel.DAEMONS)
    assert borne in pod["tolerations"]
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    spec = cluster(tmp_path, said.format("cilium-agent"))
    spec = replace(spec, network=replace(spec.network, plugin="cilium"))
    objects = cilium.objects(spec, paper_cilium(), lambda image: image)
    assert borne in pods(objects, cilium.OPERATOR)["tolerations"]
    agents = {each["name"]: each for each in pods(objects, cilium.DAEMONS)["containers"]}
    assert agents["cilium-agent"]["resources"]["limits"] == {"memory": "1Gi"}
