"""What a migration says before it does anything."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from migrations import CALICO, COMMON, FLANNEL, Plane, change, node_facts, pod, row, workload

from provisioner.action.migration.checks import check
from provisioner.action.migration.told import told
from provisioner.errors import ProvisionError

PODS = "".join(
    [
        pod("default", "web-1", "worker1", "10.244.1.2", "ReplicaSet/web-5f"),
        pod("default", "db-0", "worker1", "10.244.1.3", "StatefulSet/db"),
        pod("default", "old-1", "worker2", "10.244.2.2", "ReplicaSet/old-77"),
        pod("default", "lone", "worker2", "10.244.2.3"),
        pod("default", "moved", "worker2", "10.244.128.9", "ReplicaSet/web-5f"),
        pod("kube-system", "proxy", "worker2", "10.98.0.22", "DaemonSet/proxy", host=True),
        pod("kube-system", "static", "cp1", "10.244.0.9", "Node/cp1", mirror=True),
    ]
)
SETS = row("set", "default", "web-5f", "Deployment", "web") + row(
    "set", "default", "old-77", "Deployment", "old"
)
WORKLOADS = (
    workload("Deployment", "web") + workload("StatefulSet", "db") + workload("Deployment", "old", "Recreate")
)
DETAILS = "".join(
    row("workload", kind, "default", name, number, surge)
    for kind, name, number, surge in (
        ("Deployment", "web", "1", "25%"),
        ("StatefulSet", "db", "3", ""),
        ("Deployment", "old", "1", ""),
    )
)
THERE = {
    "pods": PODS,
    "sets": SETS,
    "workloads": WORKLOADS,
    "details": DETAILS,
    "scratch": row("pod", "default", "lone", "{}") + row("pod", "default", "web-1", ""),
    "policies": row("policy", "shop", "deny")
    + row("policy", "default", "deny")
    + row("policy", "provision-check", "allow-all"),
    "budgets": row("budget", "default", "web", "1") + row("budget", "default", "db", "0"),
}
MOVED = PODS.replace("10.244.1.", "10.244.129.").replace("10.244.2.", "10.244.130.")


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    return Plane(tmp_path, request.param)


def test_from_flannel_to_calico_node_by_node(plane: Plane) -> None:
    assert told(change(FLANNEL, CALICO), {}, [plane.answer(**THERE)]) == [
        "the pod network flannel (backend vxlan) becomes calico (pools pods-second 10.244.128.0/17 VXLAN)",
        (
            "every node pulls the images of calico before anything else; nothing stops "
            "before its agents are ready everywhere"
        ),
        "until the last pod has moved, pods of flannel and of calico reach each other: both run on all nodes",
        (
            "node by node, workers first; connections to a pod that is made anew break, as in any rollout; the times "
            "below are of pods that start and end at once"
        ),
        "worker1: 2 pods are made anew in some 20 s: 2 by rollouts of deployment default/web, statefulset default/db",
        (
            "worker2: 2 pods are made anew in some 10 s: 1 evicted, because their workloads do not roll by "
            "themselves or are not whole; 1 evicted and created again"
        ),
        "cp1: no pod is made anew",
        (
            "these end a pod before the one in its place starts, so that its part of the work rests meanwhile: "
            "deployment default/old, statefulset default/db"
        ),
        (
            "nobody makes these anew but this run, which keeps a copy first; they are gone "
            "until they have started again: "
            "default/lone (its emptyDir is lost)"
        ),
        "evictions keep the 2 PodDisruptionBudgets; rollouts go by their workloads' own settings",
        "these allow no eviction now, and would stop the run where it needs one: default/db",
        (
            "2 NetworkPolicies (in default, shop), which flannel has ignored, begin to be "
            "enforced: what is not allowed stops"
        ),
        "pods have addresses of 10.244.128.0/17 afterwards",
        (
            "services, DNS names and the addresses of nodes stay; pods on the hosts' network "
            "and static pods are left alone"
        ),
        (
            "a backup of the former network's objects is written first: "
            "/var/lib/provision/migration/*/objects.yaml "
            "on cp1; configurations and files that go lie in the same folder on each node"
        ),
        "a run that was stopped goes on with the same command, and --rollback takes it back at any point",
    ]


@pytest.mark.parametrize(
    ("source", "target", "how", "files", "said", "unsaid"),
    [
        (
            FLANNEL,
            CALICO,
            {"strategy": "all-at-once"},
            {},
            [
                "all at once: every pod of the pod network ends at the same time",
                "1 to 11 s between pods that start at once, 10 to 16 s for small Deployments",
                "worker2: 2 pods are made anew: 1 deleted, and made anew by who made them; 1 deleted and created again",
                "all at once does not ask the 2 PodDisruptionBudgets",
            ],
            ["node by node", "these end a pod before"],
        ),
        (
            CALICO,
            FLANNEL,
            {"back": True},
            {"pods": MOVED, "own": row("own", "GlobalNetworkPolicy", "", "deny-all")},
            [
                "back: the pod network calico",
                "2 NetworkPolicies (in default, shop) stop being enforced",
                (
                    "1 object is deleted with the definitions of calico, and kept: a migration that leads back to it "
                    "creates them again: GlobalNetworkPolicy deny-all"
                ),
                "pods have addresses of their nodes' parts of 10.244.0.0/16 afterwards",
            ],
            ["--rollback"],
        ),
        (
            CALICO,
            FLANNEL,
            {},
            {"own": row("own", "HostEndpoint", "", "worker1-auto-hep")},
            ["worker2: 1 pod is made anew in some 10 s: 1 by rollouts of deployment default/web"],
            ["HostEndpoint"],
        ),
        (
            {
                **CALICO,
                "calico": {
                    "pools": [{"name": "pods", "cidr": "10.244.128.0/17", "encapsulation": "None"}],
                    "bgp": {"peers": [{"name": "rack", "address": "10.98.0.1", "as_number": 64513}]},
                },
            },
            FLANNEL,
            {},
            {
                "own": "".join(
                    row("own", kind, "", name)
                    for kind, name in (
                        ("BGPConfiguration", "default"),
                        ("BGPPeer", "rack"),
                        ("BGPPeer", "mine"),
                        ("FelixConfiguration", "default"),
                    )
                )
            },
            ["a migration that leads back to it creates them again: BGPPeer mine"],
            ["BGPPeer rack", "BGPConfiguration default", "FelixConfiguration default"],
        ),
        (FLANNEL, CALICO, {"begun": True}, {}, ["nothing of the former network has been taken away yet"], []),
        (
            FLANNEL,
            CALICO,
            {"begun": True, "phase": "alone"},
            {"pods": MOVED},
            ["no pod needs the former network any more", "worker1: no pod is made anew"],
            ["before anything else"],
        ),
        (
            FLANNEL,
            {**FLANNEL, "flannel": {"backend": "host-gw"}},
            {},
            {},
            [
                "flannel (backend vxlan) becomes flannel (backend host-gw)",
                "all agents change together: pods of different nodes do not reach each other",
            ],
            ["made anew", "NetworkPolic"],
        ),
        (
            CALICO,
            {**COMMON, "plugin": "calico", "calico": {"pools": [{"name": "b", "cidr": "10.244.64.0/18"}]}},
            {},
            {"pods": MOVED},
            [
                "nodes get tunnel addresses of the new pools, all at once",
                "worker1: 2 pods are made anew",
                "pods have addresses of 10.244.64.0/18 afterwards",
            ],
            ["NetworkPolic", "keep their addresses"],
        ),
        (
            CALICO,
            {
                **CALICO,
                "calico": {"pools": [{**CALICO["calico"]["pools"][0], "encapsulation": "None"}]},
            },
            {},
            {"pods": MOVED},
            ["the former one still carries packets", "pods keep their addresses, and none is made anew"],
            ["made anew:"],
        ),
    ],
)
def test_what_is_said_of_others(
    plane: Plane,
    source: dict[str, Any],
    target: dict[str, Any],
    how: dict[str, Any],
    files: dict[str, str],
    said: list[str],
    unsaid: list[str],
) -> None:
    text = "\n".join(told(change(source, target, **how), {}, [plane.answer(**{**THERE, **files})]))
    assert [each for each in said if each not in text] == []
    assert [each for each in unsaid if each in text] == []


def test_what_waits_for_a_plug_in_is_told(plane: Plane) -> None:
    file = plane.root / "own/var/lib/provision/migration/own-calico.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"items": [{"kind": "GlobalNetworkPolicy", "metadata": {"name": "deny-all"}}]}')
    line = "1 object is created again, kept since calico has left: GlobalNetworkPolicy deny-all"
    assert line in told(change(FLANNEL, CALICO), {}, [plane.answer(**THERE)])
    lost = "1 object is not created again, kept when calico left, and gone with the control planes of that time: Tier a"
    assert lost in told(
        change(FLANNEL, CALICO), {}, [plane.answer(**THERE, noted="Tier a\nGlobalNetworkPolicy deny-all")]
    )
    assert line not in told(change(CALICO, FLANNEL), {}, [plane])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_what_is_asked_passes_shellcheck(plane: Plane) -> None:
    migration = change(CALICO, FLANNEL)
    check(migration, node_facts(), plane.answer(own=""), lambda _: None)
    told(migration, {}, [plane])
    texts = [
        blob.data or b"" for script in plane.sent for name, blob in script.payload.items() if "run" in name
    ]
    assert len(texts) == 5
    for text in texts:
        subprocess.run(["shellcheck", "-s", "sh", "-"], input=text, check=True)


def test_an_api_server_that_does_not_answer_has_not_said_that_there_are_no_policies(plane: Plane) -> None:
    with pytest.raises(ProvisionError, match="kubectl failed"):
        told(change(CALICO, FLANNEL), {}, [plane.answer(**THERE, silent="")])


def test_pods_that_stay_with_a_larger_mtu_are_told(plane: Plane) -> None:
    bgp = {**CALICO, "calico": {"pools": [{**CALICO["calico"]["pools"][0], "encapsulation": "None"}]}}
    links = {"eth0": 1500, "cali12345678901": 1500}
    facts = {
        name: replace(each, mtus=links, kubelet_certificate="its") for name, each in node_facts().items()
    }
    migration = change(bgp, CALICO)
    lines = told(migration, facts, [plane.answer(**{**THERE, "pods": MOVED})])
    (line,) = [each for each in lines if "MTU" in each]
    assert line.startswith(
        "cp1, worker1, worker2: pods keep the MTU 1500 that they began with, new ones get 1450"
    )
