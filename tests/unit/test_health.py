"""How a cluster is: what hosts answered, as values; and the verdict on them."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.health import ClusterHealth, Component, Expiry, HostHealth, NodeHealth
from provisioner.kube import health
from provisioner.kube.healthscript import Section, health_script, sections
from provisioner.kube.requests import SIGNER
from provisioner.pki.authority import Leaf, issue, new_authority
from provisioner.pki.expiry import READ_CERTIFICATES, parse_expiries

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "ash"]) if shutil.which(words[0])]


def answers(**texts: str | tuple[int, str]) -> dict[str, Section]:
    return {
        name: Section(*text) if isinstance(text, tuple) else Section(0, text) for name, text in texts.items()
    }


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_questions_are_asked_side_by_side_and_all_answered(shell: list[str], tmp_path: Path) -> None:
    """One that fails, one that hangs for a while and one that says much do not disturb each other."""
    fragments = {
        "fails": "echo half; echo why >&2; return 3",
        "sleeps": "sleep 0.3; echo late",
        "talks": "i=0; while [ $i -lt 500 ]; do echo '=no head'; i=$((i+1)); done",
        "reads": "cat; echo nothing",
    }
    script = health_script([], fragments, nodes=False)
    environment = {"W": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*shell, "-c", script.main],
        env=environment,
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=20,
        check=True,
    )
    found = sections(done.stdout)
    assert (found["fails"].status, found["fails"].text.split(), found["fails"].last_line) == (
        3,
        ["half", "why"],
        "why",
    )
    assert found["sleeps"].text.strip() == "late"
    assert found["reads"].text.strip() == "nothing"
    assert found["talks"].status == 0


def test_only_what_belongs_to_a_role_is_asked() -> None:
    worker = health_script(["kube_node"], {}, nodes=False).main
    assert "kubelet.service" in worker
    assert "etcd" not in worker
    assert "kubectl" not in worker
    plane = health_script(["kube_control_plane"], {}, nodes=True).main
    assert "/api/v1/nodes" in plane
    assert "etcdctl" not in plane


def test_a_load_balancer_is_asked_through_itself() -> None:
    assert (
        "ask balancer /opt/kubernetes/bin/api-health"
        in health_script(["load_balancer"], {}, nodes=False).main
    )
    well, silent = answers(balancer=""), answers(balancer=(7, ""))
    assert health.load_balancer("lb1", well) == Component("api-load-balancer", "lb1", True)
    assert health.load_balancer("lb1", well, "10.0.0.9").detail == "has 10.0.0.9"
    assert health.load_balancer("lb1", silent, "10.0.0.9") == Component(
        "api-load-balancer", "lb1", False, "no API server answers through it, has 10.0.0.9"
    )


def test_a_long_line_is_cut() -> None:
    assert len(Section(1, "x" * 5000).last_line) < 250


def test_services() -> None:
    text = """
Id=etcd.service
ActiveState=active
SubState=running

Id=kubelet.service
ActiveState=activating
SubState=auto-restart

Id=kube-proxy.service
ActiveState=active
SubState=exited
"""
    assert health.units(answers(units=text)) == (
        ("etcd", "active"), ("kubelet", "activating"), ("kube-proxy", "active (exited)")
    )  # fmt: skip
    assert health.units({}) == ()


@pytest.mark.parametrize(
    ("readyz", "well", "detail"),
    [
        ((0, "[+]ping ok\nreadyz check passed\n"), True, ""),
        ((1, 'an error ("[+]ping ok\\n[-]etcd failed: reason withheld\\n")'), False, "failed: etcd"),
        ((1, "[+]ping ok\n[-]a failed: x\n[-]b failed: y\n"), False, "failed: a, b"),
        ((1, "\nThe connection was refused\n"), False, "The connection was refused"),
        ((1, ""), False, "exit status 1"),
    ],
)
def test_the_api_server(readyz: tuple[int, str], well: bool, detail: str) -> None:
    first, *_ = health.control_plane("cp1", answers(readyz=readyz, controllers="ok", scheduler="ok"))
    assert first == Component("kube-apiserver", "cp1", well, detail)


def test_what_was_not_answered_is_not_well() -> None:
    assert [each.well for each in health.control_plane("cp1", {})] == [False, False, False]
    member, version = health.etcd_member("cp1", {})
    assert (member.well, version) == (False, "")
    assert health.nodes({}, NOW) is None
    assert health.nodes(answers(nodes="{}"), NOW) is None
    assert health.nodes(answers(nodes=(1, '{"items": []}')), NOW) is None
    assert health.last_change(answers(journal=(1, "tail: cannot open"))) is None


def etcd(**status: Any) -> str:
    return json.dumps(
        [
            {
                "Status": {
                    "header": {"member_id": 1},
                    "version": "3.6.8",
                    "dbSize": 2265088,
                    "leader": 1,
                    **status,
                }
            }
        ]
    )


@pytest.mark.parametrize(
    ("member", "status", "well", "detail"),
    [
        ('[{"health":true}]', etcd(), True, "leader, 2.3 MB"),
        ('[{"health":true}]', etcd(leader=2), True, "follower, 2.3 MB"),
        ('[{"health":true}]', etcd(errors=["etcdserver: NOSPACE"]), False, "etcdserver: NOSPACE"),
        ((1, '[{"health":false,"error":"deadline"}]\nError: unhealthy cluster'), (1, ""), False, "deadline"),
        ((1, "no such file"), (1, ""), False, "no such file"),
    ],
)
def test_an_etcd_member(
    member: str | tuple[int, str], status: str | tuple[int, str], well: bool, detail: str
) -> None:
    found, _ = health.etcd_member("cp1", answers(member=member, status=status))
    assert found == Component("etcd", "cp1", well, detail)


def node(name: str, ready: str | None, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "message": "PLEG is not healthy"}] if ready else []
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "2026-01-30T12:00:00Z",
            "labels": {"node-role.kubernetes.io/gpu": "", "x": "y"},
        },
        "spec": more,
        "status": {
            "conditions": [{"type": "DiskPressure", "status": "False"}, *conditions],
            "nodeInfo": {"kubeletVersion": "v1.33.13", "containerRuntimeVersion": "containerd://1.6.20"},
        },
    }


def test_nodes() -> None:
    items = [node("b", "False"), node("a", "True", unschedulable=True), node("c", None)]
    told = answers(nodes=json.dumps({"items": items}))
    found = health.nodes(told, NOW)
    assert found is not None
    assert [(each.name, each.ready, each.schedulable) for each in found] == [
        ("a", True, False), ("b", False, True), ("c", False, True)
    ]  # fmt: skip
    assert (found[0].age, found[0].version, found[0].roles) == (86400.0, "1.33.13", ("gpu",))
    assert [each.detail for each in found] == ["", "PLEG is not healthy", "its kubelet has said nothing yet"]
    assert health.runtime_version(told) == "containerd 1.6.20"


def test_certificates_by_their_ends(tmp_path: Path) -> None:
    authority = new_authority("ca")
    pair = issue(authority, Leaf("a", ("o",), days=0.5))
    (tmp_path / "x.pem").write_text(pair.cert + pair.key.reveal())
    (tmp_path / "y.crt").write_text("nothing of the kind")
    (tmp_path / "z.crt").write_text(authority.cert)
    script = READ_CERTIFICATES.replace("/etc/kubernetes/pki/*.crt", f"{tmp_path}/*")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert "PRIVATE" not in done.stdout
    found = {Path(each.path).name: each for each in parse_expiries(done.stdout)}
    assert set(found) >= {"x.pem", "z.crt"}
    assert "y.crt" not in found
    left = found["x.pem"].ends - dt.datetime.now(dt.UTC)
    assert dt.timedelta(hours=11.9) < left <= dt.timedelta(hours=12)
    assert found["x.pem"].subject == "CN=a,O=o"


WELL = ClusterHealth(
    name="lab",
    wanted="1.33.13",
    network="flannel",
    proxy="iptables",
    at=NOW,
    nodes=(NodeHealth("cp1", ready=True),),
    components=(Component("etcd", "cp1", True),),
    hosts=(
        HostHealth(
            "cp1",
            reached=True,
            units=(("etcd", "active"),),
            certificates=(
                Expiry("/late", "CN=b", NOW + dt.timedelta(days=9)),
                Expiry("/soon", "CN=a", NOW + dt.timedelta(days=2)),
            ),
            drift=3,
        ),
    ),
)


def test_a_request_that_waits_is_a_warning_and_no_trouble() -> None:
    item = {"metadata": {"name": "csr-x"}, "spec": {"signerName": SIGNER, "username": "mallory"}}
    (told,) = health.requests(answers(requests=json.dumps({"items": [item]})), ["w"])
    assert told == (
        "the certificate request csr-x is not approved: it comes from mallory, not from this run's token"
    )
    assert health.requests(answers(requests=(1, "no")), ["w"]) == health.requests({}, ["w"]) == []
    assert replace(WELL, warnings=(told,)).exit_code == 0


def test_drift_alone_is_no_trouble() -> None:
    assert (WELL.troubles, WELL.exit_code) == ((), 0)
    soonest = WELL.hosts[0].soonest
    assert soonest is not None
    assert soonest.path == "/soon"


@pytest.mark.parametrize(
    ("change", "trouble", "exit_code"),
    [
        ({"nodes": (NodeHealth("w", ready=False, detail="PLEG"),)}, "node w is not ready: PLEG", 1),
        ({"nodes": (NodeHealth("w", ready=False, joined=False),)}, "node w has not joined", 1),
        ({"components": (Component("etcd", "cp2", False, "NOSPACE"),)}, "etcd on cp2: NOSPACE", 1),
        ({"faults": ("no copy",)}, "no copy", 1),
        ({"hosts": (HostHealth("w", reached=False, reason="no route"),)}, "w is not reached: no route", 4),
        (
            {"hosts": (HostHealth("w", reached=True, units=(("kubelet", "failed"),)),)},
            "kubelet on w is failed",
            1,
        ),
        (
            {"hosts": (HostHealth("w", reached=True, certificates=(Expiry("/c", "CN=a", NOW),)),)},
            "w: /c ended on 2026-01-31",
            1,
        ),
    ],
)
def test_troubles(change: dict[str, Any], trouble: str, exit_code: int) -> None:
    found = replace(WELL, **change)
    assert (found.troubles, found.exit_code) == ((trouble,), exit_code)


def test_a_service_that_does_not_run_is_said_once() -> None:
    stopped = HostHealth("cp1", reached=True, units=(("kube-scheduler", "inactive"),))
    refused = Component("kube-scheduler", "cp1", False, "connection refused")
    assert replace(WELL, hosts=(stopped,), components=(refused,)).troubles == (
        "kube-scheduler on cp1 is inactive",
    )
