"""`--explain`: each difference between what is applied and what its publisher has is told, with why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from paperbundle import FELIX, FLANNEL, MULTUS, MULTUS_THICK, paper_bundle
from test_multus import facts, private

import provisioner.action.load as loading
from provisioner.action.load import Request
from provisioner.action.plan import with_reasons
from provisioner.action.prepare import Prepared, compile_with
from provisioner.cli.main import cli
from provisioner.engine.patched import Patched
from provisioner.engine.plan import Plan, StagePlan
from provisioner.kube.objects import object_key
from provisioner.network.multus import Attached
from provisioner.network.patches import Edit, explained, parse_manifest, patch
from provisioner.network.podnetwork import PodNetwork
from provisioner.playbook.factsfile import write_facts
from provisioner.report.patched import patched_lines
from provisioner.report.planned import plan_lines, plan_value
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.spec.attachments import Attachment, Multus
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Network

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
CALICO = (
    """
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data: {calico_backend: bird, veth_mtu: "0"}
---
"""
    + FELIX
    + """
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: kube-system}
spec:
  template:
    metadata: {labels: {k8s-app: calico-node}}
    spec:
      initContainers:
        - {name: install-cni, image: "example.org/cni:v1", env: [{name: SLEEP, value: "false"}]}
      containers:
        - name: calico-node
          image: example.org/node:v1
          env:
            - {name: IP, value: autodetect}
            - {name: CALICO_IPV4POOL_IPIP, value: Always}
          livenessProbe: {exec: {command: [/bin/calico-node, -felix-live, -bird-live]}}
          readinessProbe: {exec: {command: [/bin/calico-node, -felix-ready, -bird-ready]}}
"""
)
POOLS = (IPPool("p", "10.244.0.0/16", encapsulation="VXLAN"),)
TEXTS = {"kube-flannel": FLANNEL, "calico": CALICO, "multus": MULTUS, "multus-thick": MULTUS_THICK}
NETWORKS = {
    "vxlan": Network(),
    "udp on a link": Network(flannel=Flannel("udp", interface="eth1")),
    "Calico's health elsewhere": Network(
        plugin="calico", calico=Calico(pools=POOLS, felix={"healthPort": 9199, "healthHost": "127.0.0.2"})
    ),
    "Calico": Network(plugin="calico", calico=Calico(pools=POOLS, mtu=1400, env={"FELIX_LOGPREFIX": "y"})),
    "thin": Network(multus=Multus("thin")),
    "thick": Network(multus=Multus("thick"), attachments=(Attachment("a", "macvlan", master="eth1"),)),
}


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Paths at which two values differ, as people are told of them."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            named = mine.get("name", number) if isinstance(mine, dict) else number
            yield from differences(mine, its, f"{path}[{named}]")
    elif one != other:
        yield path


def parts(lab: ClusterSpec, network: Network) -> Iterator[tuple[Any, list[Any], list[Patched]]]:
    """What the publisher has, what is applied, and what is told of that."""
    spec = replace(lab, network=network)
    pods = PodNetwork(spec, lambda name: TEXTS[name])
    yield pods.upstream, pods.objects(private), pods.patched(private)
    more = Attached(spec, lambda name: TEXTS[name], ["example.org/multus:v1", "example.org/multus:v1-thick"])
    yield more.upstream, more.objects(private), more.patched(private)


def _within(one: str, other: str) -> bool:
    """A list that became longer differs as a whole, and by what was changed in it."""
    return one.startswith(other) or other.startswith(one)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_difference_is_told_and_nothing_else(lab: ClusterSpec, name: str) -> None:
    for upstream, applied, patches in parts(lab, NETWORKS[name]):
        made = {object_key(each): each for each in applied}
        found = {
            (object_key(each), path)
            for each in upstream
            for path in differences(each, made[object_key(each)])
        }
        changed = {(each.target, each.path) for each in patches if each.before != each.after}
        untold = [at for at in found if not any(at[0] == t and at[1].startswith(p) for t, p in changed)]
        assert not untold
        about = {(target, path) for target, path in changed if (target, path) not in found}
        invented = [at for at in about if not any(at[0] == t and _within(at[1], p) for t, p in found)]
        assert not invented
        assert all(each.why for each in patches)
    (_, _, of_pods), (_, _, of_multus) = parts(lab, NETWORKS[name])
    assert {each.manifest for each in of_pods} == {NETWORKS[name].plugin}
    assert {each.manifest for each in of_multus} == ({"multus"} if NETWORKS[name].multus else set())


def test_what_was_and_is_there(lab: ClusterSpec) -> None:
    (_, _, patches), _ = parts(lab, NETWORKS["Calico"])
    told = {each.path.removeprefix("spec.template.spec."): (each.before, each.after) for each in patches}
    node = "containers[calico-node]"
    assert told["data.calico_backend"] == ("bird", "vxlan")
    assert told[f"{node}.image"] == ("example.org/node:v1", private("example.org/node:v1"))
    assert told[f"{node}.livenessProbe.exec.command"] == ("-bird-live", None)
    assert told[f"{node}.env[CALICO_IPV4POOL_IPIP]"] == (
        {"name": "CALICO_IPV4POOL_IPIP", "value": "Always"},
        {"name": "CALICO_IPV4POOL_IPIP", "value": "Never"},
    )
    added = [each.after for each in patches if each.path == f"spec.template.spec.{node}.env"]
    assert {"name": "FELIX_LOGPREFIX", "value": "y"} in added
    assert all(each.before is None for each in patches if each.path.endswith(".env"))


def test_probes_are_told_where_felix_answers(lab: ClusterSpec) -> None:
    """They know it by variables alone, and Felix takes those before its fields."""
    (upstream, applied, _), _ = parts(lab, NETWORKS["Calico's health elsewhere"])
    (settings,) = [each["spec"] for each in applied if each["kind"] == "FelixConfiguration"]
    (daemons,) = [each for each in applied if each["kind"] == "DaemonSet"]
    (node,) = daemons["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in node["env"]}
    assert (told["FELIX_HEALTHPORT"], told["FELIX_HEALTHHOST"]) == ("9199", "127.0.0.2")
    assert (settings["healthPort"], settings["healthHost"]) == (9199, "127.0.0.2")
    assert "HEALTH" not in str(upstream)


def test_telling_changes_nothing() -> None:
    upstream = parse_manifest(FLANNEL, "x")
    edit = Edit("ConfigMap kube-flannel/kube-flannel-cfg", ("data", "new"), "1", "because", new=True)
    told = explained(upstream, [edit, replace(edit, value="2")], "x", "flannel")
    assert [(each.before, each.after) for each in told] == [(None, "1"), ("1", "2")]
    assert upstream == parse_manifest(FLANNEL, "x")
    assert patch(upstream, [edit], "x")[0]["data"]["new"] == "1"


LINES: list[tuple[Any, Any, str]] = [
    (None, "a", "p: + a"),
    ("a", None, "p: - a"),
    ("a", "a", "p: a (as it was)"),
    ("1", {"b": 2}, 'p: 1 → {"b": 2}'),
    ("{\n  x\n}", "y" * 200, f"p: {{ x }} → {'y' * 89}…"),
]


@pytest.mark.parametrize(("before", "after", "line"), LINES)
def test_a_line_says_what_was_and_is_there(before: Any, after: Any, line: str) -> None:
    head, said, why = patched_lines([Patched("m", "ConfigMap a/b", "p", before, after, "it has to")])
    assert (head.text.strip(), said.text.strip(), why.text.strip()) == (
        "ConfigMap a/b",
        line,
        "why: it has to",
    )


@pytest.fixture
def _on_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def rendered(folder: Path, lab: ClusterSpec, *words: str) -> str:
    write_facts(folder / "facts", facts(lab, {}, memory=4 << 20))
    argv = ["render", str(LAB), *words, "--facts", str(folder / "facts"), "-o", str(folder / "out")]
    done = CliRunner().invoke(cli, argv, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.stdout)


@pytest.mark.usefixtures("_on_paper")
def test_render_tells_why(tmp_path: Path, lab: ClusterSpec) -> None:
    said = rendered(tmp_path, lab, "network", "--explain").splitlines()
    at = said.index("        data.net-conf.json: {} → " + said[said.index("flannel") + 2].partition("→ ")[2])
    assert said[at - 2 : at] == ["flannel", "      ConfigMap kube-flannel/kube-flannel-cfg"]
    assert said[at + 1] == "          why: pod CIDRs and backend of the spec"
    assert (tmp_path / "out/manifests/flannel.yaml").is_file()
    assert "why:" not in rendered(tmp_path, lab, "network")
    assert "why:" not in rendered(tmp_path, lab, "etcd", "--explain"), "its manifests are not among them"


@pytest.mark.usefixtures("_on_paper")
def test_render_tells_why_as_json(tmp_path: Path, lab: ClusterSpec) -> None:
    last = json.loads(rendered(tmp_path, lab, "network", "--explain", "--json").splitlines()[-1])
    assert last["event"] == "Patches"
    whys = {each["path"]: each["why"] for each in last["patches"]}
    assert whys["data.net-conf.json"] == "pod CIDRs and backend of the spec"


def prepared(lab: ClusterSpec) -> Prepared:
    return compile_with(
        loading.load(Request(LAB)), facts(lab, {}, memory=4 << 20), lambda _: None, for_show=True
    )


def plan_of(*names: str) -> Plan:
    split = [name.split(":") for name in names]
    changes = [Change(Resource(kind, name, Present({})), Absent(), "create", ()) for kind, name in split]
    return Plan("i", "d", (StagePlan("network", ("cp1",), {"cp1": tuple(changes)}),), 2)


@pytest.mark.usefixtures("_on_paper")
def test_a_plan_tells_why_of_what_changes(lab: ClusterSpec) -> None:
    of = prepared(lab)
    plan = with_reasons(plan_of("manifest:flannel", "file:/etc/x"), of)
    texts = [line.text.strip() for line in plan_lines(plan)]
    first, other = texts.index("+ cp1  manifest:flannel"), texts.index("+ cp1  file:/etc/x")
    assert "why: pod CIDRs and backend of the spec" in texts[first:other]
    assert not any(text.startswith("why:") for text in texts[other:])
    manifest, file = plan_value(plan)["changes"]
    assert {each["target"] for each in manifest["patches"]} >= {"DaemonSet kube-flannel/kube-flannel-ds"}
    assert file["patches"] == []
    for unchanged in (with_reasons(plan_of("file:/etc/x"), of), plan_of("manifest:flannel")):
        assert not any("why:" in line.text for line in plan_lines(unchanged))
        assert "patches" not in plan_value(unchanged)["changes"][0]
