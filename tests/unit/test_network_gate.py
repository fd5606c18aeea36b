"""What is said when the nodes or their pod network are not ready: after how long, and what is to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from localhost import LocalSession

from provisioner.errors import ProvisionError
from provisioner.kube.gates import network_ready

DAEMONS = "DaemonSet kube-flannel/kube-flannel-ds"

KUBECTL = """#!/bin/sh
# Stands for kubectl: the files say what it answers.
case " $* " in
*" rollout status "*" daemonset/kube-flannel-ds "*) cat {root}/rollout >&2; [ ! -s {root}/rollout ] ;;
*" get daemonset kube-flannel-ds "*) [ -e {root}/there ] && cat {root}/there ;;
*" wait "*) cat {root}/wait >&2; [ ! -s {root}/wait ] ;;
*" get node/"*) cat {root}/ready ;;
*" get nodes "*) echo "worker1: no CNI configuration" ;;
*" get pods "*) echo "kube-flannel-x Pending worker1" ;;
esac
"""


class Host(LocalSession):
    """This machine, with a kubectl that answers with `there` (None: it fails), and says `rollout` and `wait`, failing
    when they are not empty."""

    def prepare(self, *, ready: str = "True", rollout: str = "", wait: str = "", there: str | None) -> None:
        for name, text in {"ready": ready, "rollout": rollout, "wait": wait, "there": there}.items():
            if text is not None:
                (self.root / name).write_text(text)
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root))
        path.chmod(0o755)

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


@pytest.fixture(params=["dash", "busybox"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    return Host(tmp_path, request.param)


DELETED = "error: object has been deleted\n"
LATE = "error: timed out waiting for the condition\n"
MISSING = 'Error from server (NotFound): daemonsets.apps "kube-flannel-ds" not found\n'
NAME = "the DaemonSet kube-flannel/kube-flannel-ds"


@pytest.mark.parametrize(
    ("rollout", "there", "told"),
    [
        (MISSING, "", f"{NAME} is missing"),
        (DELETED, "", f"{NAME} is missing"),
        (LATE, "there2026-01-01T00:00:00Z", f"{NAME} is being deleted"),
        (DELETED, "there", f"{NAME} was deleted and made anew meanwhile"),
    ],
)
def test_a_network_plugin_that_is_gone(host: Host, rollout: str, there: str, told: str) -> None:
    host.prepare(rollout=rollout, there=there)
    with pytest.raises(ProvisionError) as caught:
        network_ready(host, ["worker1"], [DAEMONS])
    assert caught.value.reason == f"the network plug-in was gone after 0 s:\n{told}"
    assert "--stage network" in caught.value.hint


@pytest.mark.parametrize("there", ["there", None])
def test_pods_of_the_network_plugin_that_do_not_run(host: Host, there: str | None) -> None:
    host.prepare(rollout=LATE, there=there)
    with pytest.raises(ProvisionError) as caught:
        network_ready(host, ["worker1"], [DAEMONS])
    first, *_, pod, last = caught.value.reason.splitlines()
    assert first == "the network plug-in's pods did not run on all nodes after 0 s:"
    assert (pod, f"{last}\n") == ("kube-flannel-x Pending worker1", LATE)
    assert "containerd" in caught.value.hint


def test_nodes_that_are_not_ready(host: Host) -> None:
    host.prepare(ready="True False", wait=LATE, there="there")
    with pytest.raises(
        ProvisionError, match=r"^the nodes were not Ready after 0 s:\n(.*\n)*worker1: no CNI"
    ) as caught:
        network_ready(host, ["worker1", "worker2"], [DAEMONS])
    assert "on the host that is not" in caught.value.hint


def test_all_is_ready(host: Host) -> None:
    host.prepare(there="there")
    assert network_ready(host, ["worker1"], [DAEMONS]) == "1 nodes"
