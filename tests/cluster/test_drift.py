"""What was changed by hand is shown, and mended; and only what needs it is restarted."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lab_cluster import ADMIN, HOSTS, Done, LabCluster, is_verified, provision, restarted, until

UNIT = "/etc/systemd/system/kube-proxy.service"
BINARY = "/opt/kubernetes/bin/kube-proxy"
SYSCTL = "net.bridge.bridge-nf-call-ip6tables"
EDIT_UNIT = f"sed -i 's/^RestartSec=.*/RestartSec=7/' {UNIT}\n"
SWAP_BINARY = f"cp -p {BINARY} {BINARY}.other; echo >>{BINARY}.other; mv {BINARY}.other {BINARY}\n"
RESTART = "systemctl daemon-reload; systemctl restart kube-proxy\n"
DRIFT = {
    ("worker1", f"sysctl:{SYSCTL}"),
    ("worker1", f"file:{UNIT}"),
    ("worker2", f"artifact:{BINARY}"),
    ("cp1", "manifest:coredns"),
}
RELOAD = ("worker1", "systemd:kube-proxy.service")


@pytest.fixture(scope="module")
def drifted(cluster: LabCluster) -> dict[str, str]:
    """Four things changed by hand; the invocations of all units after that."""
    cluster.one("worker1", f"sysctl -qw {SYSCTL}=0\n{EDIT_UNIT}")
    cluster.one("worker2", SWAP_BINARY)
    edit = f"KUBE_EDITOR='sed -i s/cache.30/cache.31/' {ADMIN} -n kube-system edit configmap coredns"
    assert "edited" in cluster.one("cp1", edit)
    return cluster.invocations()


@pytest.fixture(scope="module")
def mended(cluster: LabCluster, drifted: dict[str, str]) -> Done:
    return cluster.apply()


def planned(done: Done) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["host"], each["resource"]): each for each in done.only("Plan")["changes"]}


def test_the_plan_shows_just_that(cluster: LabCluster, drifted: dict[str, str]) -> None:
    done = cluster.plan()
    changes = planned(done)
    assert done.status == 2
    # The unit file on the disk is not the one that systemd knows: besides the file, that is what a reload mends.
    assert set(changes) == DRIFT | {RELOAD}
    assert changes[RELOAD]["keys"] == ["reloaded"]
    assert {each["action"] for each in changes.values()} == {"update"}


@pytest.mark.parametrize(
    ("host", "resource", "lines"),
    [
        ("worker1", f"file:{UNIT}", ["-RestartSec=7", "+RestartSec=2"]),
        ("cp1", "manifest:coredns", ["-        cache 31", "+        cache 30"]),
    ],
)
def test_texts_are_shown_as_diffs(
    cluster: LabCluster, drifted: dict[str, str], host: str, resource: str, lines: list[str]
) -> None:
    diff = planned(cluster.plan("--limit", f"{host}"))[host, resource]["diff"]
    changed = [line.strip() for line in diff.splitlines() if line.strip()[:1] in ("+", "-")]
    # kubectl edit quotes the text in another way: a dot stands for any one character.
    assert [line.replace(".", " ") for line in changed] == lines


def test_who_owned_what_is_taken_is_named(cluster: LabCluster, drifted: dict[str, str]) -> None:
    """An edit by hand made the field its own; the plan says that it will be taken from there."""
    diff = planned(cluster.plan("--limit", "cp1"))["cp1", "manifest:coredns"]["diff"]
    assert "v1.ConfigMap.kube-system.coredns  (takes .data.Corefile from kubectl-edit)" in diff


def test_values_and_binaries_are_shown_as_such(cluster: LabCluster, drifted: dict[str, str]) -> None:
    changes = planned(cluster.plan())
    value = changes["worker1", f"sysctl:{SYSCTL}"]
    assert (value["before"]["value"], value["after"]["value"]) == ("0", "1")
    binary = changes["worker2", f"artifact:{BINARY}"]
    assert (binary["keys"], binary["diff"]) == (["sha256"], None)


def test_just_that_is_mended(cluster: LabCluster, drifted: dict[str, str], mended: Done) -> None:
    assert is_verified(mended), mended
    assert {(host, resource) for host, resource, _ in mended.changed} == DRIFT | {RELOAD}
    assert cluster.one("worker1", f"sysctl -n {SYSCTL}; grep RestartSec {UNIT}") == "1\nRestartSec=2"
    assert "cache 30" in cluster.kubectl("-n kube-system get configmap coredns -o yaml")
    assert cluster.plan().status == 0


def test_nothing_was_restarted_that_ran_as_wanted(
    cluster: LabCluster, drifted: dict[str, str], mended: Done
) -> None:
    """Both proxies still ran with the old unit and the old binary."""
    assert restarted(drifted, cluster.invocations()) == set()
    loaded = "systemctl show --property=RestartUSec,NeedDaemonReload --value kube-proxy"
    assert cluster.one("worker1", loaded).split() == ["2s", "no"]


def test_what_had_been_restarted_meanwhile_is_restarted(cluster: LabCluster, mended: Done) -> None:
    """A unit that runs with the wrong unit file or binary by now gets the right one, and its restart."""
    cluster.one("worker1", EDIT_UNIT + RESTART)
    cluster.one("worker2", SWAP_BINARY + RESTART)
    before = cluster.invocations()
    done = cluster.apply()
    assert is_verified(done), done
    assert done.changed == {
        ("worker1", f"file:{UNIT}", "update"),
        ("worker1", "systemd:kube-proxy.service", "restart"),
        ("worker2", f"artifact:{BINARY}", "update"),
        ("worker2", "systemd:kube-proxy.service", "restart"),
    }
    touched = {"worker1/kube-proxy.service", "worker2/kube-proxy.service"}
    assert restarted(before, cluster.invocations()) == touched


def test_a_restart_by_hand_is_no_drift(cluster: LabCluster, mended: Done) -> None:
    cluster.one("worker1", "sleep 1.1; systemctl restart kube-proxy")
    done = cluster.plan("--stage", "kube-proxy")
    assert (done.status, planned(done)) == (0, {})


def test_a_stopped_and_disabled_unit_is_drift(cluster: LabCluster, mended: Done) -> None:
    cluster.one("worker1", "systemctl disable --now kube-proxy 2>/dev/null")
    done = cluster.apply("--stage", "kube-proxy")
    assert done.status == 0, done
    assert {(host, resource) for host, resource, _ in done.changed} == {RELOAD}
    assert cluster.one("worker1", "systemctl is-active kube-proxy; systemctl is-enabled kube-proxy") == (
        "active\nenabled"
    )


def test_a_controller_that_writes_meanwhile_is_no_drift(cluster: LabCluster, mended: Done) -> None:
    """`kubectl diff` reads twice; what came in between is no difference of ours."""
    with annotating(cluster, "deployments/coredns") as written:
        before = written()
        done = [cluster.plan("--stage", "addons") for _ in range(3)]
        assert written() - before > 60
    assert [(each.status, planned(each)) for each in done] == [(0, {})] * 3


@contextmanager
def annotating(cluster: LabCluster, target: str) -> Iterator[Callable[[], int]]:
    """Writes one annotation over and over, as fast as it can; gives how often it did."""
    loop = f"""
    {ADMIN} proxy --port=18001 >/dev/null 2>&1 & proxy=$!
    trap 'kill $proxy' EXIT
    url=/apis/apps/v1/namespaces/kube-system/{target}
    n=0
    while [ -e /run/annotating ]; do
      n=$((n + 1))
      body='{{"metadata":{{"annotations":{{"test.provision/n":"'$n'"}}}}}}'
      exec 5<>/dev/tcp/127.0.0.1/18001 || {{ sleep 0.1; continue; }}
      printf '%s\r\n' "PATCH $url HTTP/1.0" 'Host: 127.0.0.1' 'Content-Type: application/merge-patch+json' \
        "Content-Length: ${{#body}}" '' >&5
      printf %s "$body" >&5
      grep -q '^HTTP/1.. 200' <&5 && echo $n >/run/annotated
    done"""
    start = f"setsid bash -c {shlex.quote(loop)} >/run/annotator 2>&1 </dev/null &"
    cluster.one("cp1", f"touch /run/annotating; echo 0 >/run/annotated\n{start}")
    try:
        until(lambda: int(cluster.one("cp1", "cat /run/annotated") or 0) > 0, "an annotation was written")
        yield lambda: int(cluster.one("cp1", "cat /run/annotated") or 0)
    finally:
        cluster.one("cp1", "rm /run/annotating")
        cluster.kubectl("-n kube-system annotate deployment coredns test.provision/n-")


def test_verify_names_drift_and_changes_nothing(cluster: LabCluster, mended: Done) -> None:
    cluster.one("worker2", "chmod 600 /etc/kubernetes/kubelet.yaml")
    cluster.on("all", "touch /run/before")
    done = provision("verify", cluster.inventory, "--json", "--stage", "kubelet")
    assert done.status == 1, done
    assert set(planned(done)) == {("worker2", "file:/etc/kubernetes/kubelet.yaml")}
    assert cluster.on("all", "find /etc /opt /var/lib/provision -newercc /run/before 2>/dev/null") == (
        dict.fromkeys(HOSTS, "")
    )
    again = cluster.apply("--stage", "kubelet")
    assert again.changed == {("worker2", "file:/etc/kubernetes/kubelet.yaml", "update")}
    assert cluster.one("worker2", "stat -c %a /etc/kubernetes/kubelet.yaml") == "644"


def test_deep_verify_reads_what_was_unpacked(cluster: LabCluster, mended: Done) -> None:
    """The record of the unpacking is forged, as if a disk had changed what no stat tells."""
    plugin, folder = "/opt/cni/bin/loopback", "/var/lib/provision/archives"
    forge = f"""
    n=$(ls {folder}/*cni-plugins*.stat); n=${{n%.stat}}
    printf x | dd of={plugin} bs=1 seek=4096 conv=notrunc status=none
    cd /opt/cni/bin
    {{ xargs -0 -r stat -c '%n %f %s %i %.9Z' -- <"$n.members"
       [ ! -s "$n.folders" ] || xargs -0 -r stat -c '%n %f %u %g' -- <"$n.folders"; }} | sha256sum >"$n.stat"
    """
    cluster.one("worker1", forge)
    assert cluster.plan("--stage", "node binaries").status == 0
    done = provision("verify", cluster.inventory, "--json", "--stage", "node binaries", "--deep")
    assert done.status == 1, done
    ((place, change),) = planned(done).items()
    assert place[0] == "worker1"
    assert place[1].startswith("unarchive:/opt/cni/bin/")
    assert change["keys"] == ["contents"]
    cluster.one("worker1", f"rm {folder}/*cni-plugins*.stat")
    again = cluster.apply("--stage", "node binaries")
    assert {(host, resource) for host, resource, _ in again.changed} == {place}
    clean = provision("verify", cluster.inventory, "--json", "--stage", "node binaries", "--deep")
    assert clean.status == 0, clean
