"""The traffic check: who asks for what, from where, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from localhost import LocalSession

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.asking import Asker, Broken, Target, judge, questions
from provisioner.kube.check_objects import check_objects
from provisioner.kube.traffic import Pod, TrafficCheck, _answered, _failure, _strangers
from provisioner.remote.outcome import DeadlineError, Result

ROOT = Path(__file__).resolve().parents[2]
POD = Asker("worker1", "asker-x")
HOST = Asker("worker2", "asker-y", "c2")
TARGETS = [
    Target("service", "10.96.0.9:80"),
    Target("node-port", "10.98.0.22:30080", "worker2"),
    Target("dns", "a.b:80"),
]


def judged(*lines: str) -> list[Broken]:
    """What is made of the lines that asker 0, POD, and another one printed."""
    said = "".join(f"{line}\n" for line in lines).encode()
    return judge({POD: TARGETS, HOST: []}, [Result(0, said, b"", 0.0)])


def test_silence_is_a_failure() -> None:
    good = ["0 ok service 10.96.0.9:80", "0 ok node-port 10.98.0.22:30080", "0 ok dns a.b:80"]
    assert judged(*good) == []
    broken = judged(
        good[0], "0 bad node-port 10.98.0.22:30080 TIMEOUT", "0 error: pod gone", "1 ok dns a.b:80"
    )
    assert broken == [Broken(POD, TARGETS[1], "TIMEOUT"), Broken(POD, TARGETS[2], "error: pod gone")]
    assert [each.said for each in judged()] == ["no answer"] * 3


def test_a_host_whose_pod_has_gone_says_so(tmp_path: Path) -> None:
    host = Asker("here", "asker-x", "0" * 64)
    wishes = {host: [Target("service", "10.96.0.9:80")]}
    scripts = questions(wishes, "cp1")
    assert list(scripts) == ["here"]
    answer = LocalSession(tmp_path, "dash").run(scripts["here"])
    (broken,) = judge(wishes, [answer])
    assert broken.said == f"the container {'0' * 64} does not run here"


def test_what_is_no_line_of_ours_is_passed_over() -> None:
    said = [
        "0 error: a\rb",
        "",
        "0 ok service 10.96.0.9:80",
        "0 ok node-port 10.98.0.22:30080",
        "0 ok dns a.b:80",
    ]
    assert judged(*said) == []


def test_a_host_whose_script_failed_tells_why() -> None:
    wishes = {HOST: [Target("service", "10.96.0.9:80")]}
    (broken,) = judge(wishes, [Result(2, b"", b"cannot fork\n", 0.0)])
    assert broken.said == "cannot fork"


def test_a_pod_without_a_container_is_no_way_to_ask() -> None:
    check = TrafficCheck("agnhost", {"a": "10.0.0.1"}, "cluster.local", RUN, hosts=["a"])
    for container in ("", "c1; reboot"):
        with pytest.raises(ProvisionError, match="a: the pod asker-a has no container"):
            check._wishes([Pod("asker-a", "a", "asker", ("10.244.0.2",), container)], SERVICES)


def test_pods_are_asked_where_kubectl_is() -> None:
    pod, host = Asker("worker1", "asker-x"), Asker("worker1", "asker-x", "c1")
    scripts = questions({pod: TARGETS, host: TARGETS}, "cp1")
    assert "from_pod asker-x" in scripts["cp1"].main
    assert "from_host c1" in scripts["worker1"].main


def test_a_host_that_is_lost_meanwhile_fails_the_check() -> None:
    with pytest.raises(UnreachableError, match="gone"):
        _answered({"cp1": Result(0, b"", b"", 0.0), "worker1": UnreachableError("gone")})
    with pytest.raises(UnreachableError, match="gone"):  # and not cp1, whose pods ask worker1 in vain
        _answered({"cp1": DeadlineError("too long"), "worker1": UnreachableError("gone")})
    with pytest.raises(DeadlineError):
        _answered({"cp1": DeadlineError("too long")})


def test_people_are_told_who_does_not_reach_whom() -> None:
    text = str(_failure(judged("0 bad node-port 10.98.0.22:30080 TIMEOUT")))
    assert "worker1 (pod) → node-port 10.98.0.22:30080 on worker2: TIMEOUT" in text
    assert text.startswith("3 connections do not work")


ADDRESSES = {"cp1": "10.98.0.11", "worker1": "10.98.0.21", "worker2": "10.98.0.22"}
SERVICES = {
    "node-port": {"ports": [{"nodePort": 30080}]},
    "cluster-ip-000000abcd": {"clusterIP": "10.96.0.9"},
}


RUN = "20260101-000000-abcd"


def asked(
    nodes: Sequence[str], touched: Sequence[str] = (), hosts: Sequence[str] = tuple(ADDRESSES)
) -> dict[str, Sequence[Target]]:
    """What each pod and host of a check asks, by its place and node."""
    here = {node: ADDRESSES[node] for node in nodes}
    check = TrafficCheck("agnhost", here, "cluster.local", RUN, touched, hosts)
    pods = [
        Pod(f"{role}-{node}", node, role, (f"10.244.{i}.{j}",), f"c{i}{j}")
        for i, node in enumerate(nodes)
        for j, role in enumerate(("asker", "answerer"))
    ]
    return {
        f"{asker.place}-{asker.node}": targets for asker, targets in check._wishes(pods, SERVICES).items()
    }


def test_every_node_asks_every_other() -> None:
    found = asked(["worker1", "worker2"])
    kinds = {name: sorted(each.kind for each in targets) for name, targets in found.items()}
    assert kinds["pod-worker1"] == ["dns", "node-port", "other-node", "same-node", "service"]
    assert kinds["host-worker2"] == ["node-port", "service"]
    ports = [each for each in found["host-worker1"] if each.kind == "node-port"]
    assert ports == [Target("node-port", "10.98.0.22:30080", "worker2")]
    (name,) = [each.address for each in found["pod-worker1"] if each.kind == "dns"]
    assert name == "cluster-ip-000000abcd.provision-check.svc.cluster.local:80"


def test_a_limited_check_asks_only_for_what_touches_the_limit() -> None:
    found = asked(["worker1", "cp1"], ["worker1"])
    about = {name: {(each.kind, each.node) for each in targets} for name, targets in found.items()}
    service = {("service", "")}
    common = service | {("dns", "")}
    assert about["pod-worker1"] == common | {
        ("same-node", "worker1"),
        ("other-node", "cp1"),
        ("node-port", "cp1"),
    }
    assert about["pod-cp1"] == common | {("other-node", "worker1"), ("node-port", "worker1")}
    assert about["host-cp1"] == service | {("node-port", "worker1")}


def test_a_host_that_is_not_connected_is_not_asked() -> None:
    assert set(asked(["worker1", "worker2"], hosts=["worker1"])) == {
        "pod-worker1",
        "pod-worker2",
        "host-worker1",
    }


def test_a_limited_check_has_its_pods_on_its_nodes_only() -> None:
    sets = [each for each in check_objects("run", "image", ["a", "b"]) if each["kind"] == "DaemonSet"]
    for each in sets:
        affinity = each["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert [term["matchFields"][0]["values"] for term in terms] == [["a"], ["b"]]
    assert len(sets) == 2
    assert "affinity" not in check_objects("run", "image")[-1]["spec"]["template"]["spec"]


def test_further_parts_of_a_check_are_behind_the_first_ones_services() -> None:
    first, second = (check_objects("run", "image", [node], part) for part, node in enumerate(("a", "b")))
    assert [each["metadata"]["name"] for each in second] == ["asker-1", "answerer-1"]
    (selector,) = [each["spec"]["selector"] for each in first if each["metadata"]["name"] == "node-port"]
    for each in (*first, *second):
        if each["kind"] == "DaemonSet" and each["metadata"]["name"].startswith("answerer"):
            assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    chosen = [
        each["spec"]["selector"]["matchLabels"] for each in (*first, *second) if each["kind"] == "DaemonSet"
    ]
    assert len({tuple(sorted(each.items())) for each in chosen}) == 4


def test_the_namespace_of_the_check_is_made_by_the_playbook() -> None:
    text = (ROOT / "templates/cluster/admission.yaml.j2").read_text(encoding="utf-8")
    (space,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "Namespace"]
    assert {each["metadata"]["namespace"] for each in check_objects("run", "image")} == {
        space["metadata"]["name"]
    }
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_nodes_that_the_inventory_does_not_name() -> None:
    assert _strangers(set()) == ""
    assert _strangers({"worker4", "worker3"}) == "; not in the inventory: worker3, worker4"
