"""The network that comes back on a cluster of others' is the one that was there last, and is kept before all else."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from localhost import LocalSession
from migrations import CALICO, FLANNEL, change

from provisioner.action.migration import others
from provisioner.action.migration.change import Change
from provisioner.action.migration.originals import FILE, Originals, read_originals
from provisioner.action.migration.others import ByKubectl
from provisioner.network.record import NetworkRecord

CONF = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "kube-flannel-cfg", "namespace": "kube-flannel"},
    "data": {"net-conf.json": json.dumps(CONF)},
}
OLD, NEW = "x/flannel:v0.26", "x/flannel:v0.27"


def agents(image: str) -> dict[str, Any]:
    containers = [{"name": "kube-flannel", "image": image, "command": ["/opt/bin/flanneld"]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-flannel-ds", "namespace": "kube-flannel"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


class Cluster(LocalSession):
    """One host, which is the plane, all nodes and a run; its kubectl knows a flannel with the image `there`."""

    change: Change
    planes = nodes = ("here",)

    def having(self, there: str) -> Cluster:
        (self.root / "sets").write_text(json.dumps({"items": [agents(there)]}))
        (self.root / "others").write_text(json.dumps({"kind": "List", "items": [CONFIG_MAP]}))
        path = self.root / "kubectl"
        path.write_text(
            f'#!/bin/sh\ncase "$*" in *daemonsets*) cat {self.root}/sets ;; *) cat {self.root}/others ;; esac\n'
        )
        path.chmod(0o755)
        return self

    @property
    def plane(self) -> Cluster:
        return self

    @property
    def pool(self) -> Cluster:
        return self

    def map(self, hosts: list[str], work: Any) -> dict[str, Any]:
        return {host: work(self) for host in hosts}

    def step(self, name: str, subject: str = "") -> nullcontext[None]:
        return nullcontext()

    @property
    def kept(self) -> list[str]:
        """Images of the originals' agents."""
        path = self.root / f"own{FILE}"
        objects = json.loads(path.read_text())["objects"] if path.exists() else []
        found = [each for each in objects if each["kind"] == "DaemonSet"]
        return [each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found]

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name in ("check_there", "check_hosts"):
        monkeypatch.setattr(others, name, lambda run: None)
    monkeypatch.setattr(others, "objects_of", lambda run, spec: [CONFIG_MAP])
    monkeypatch.setattr(others, "_images", lambda run, objects: None)
    monkeypatch.setattr(ByKubectl, "_carried", lambda self, run, stages, gates: 0)
    return Cluster(tmp_path, "dash")


def known(wanted: Change, image: str) -> Originals:
    return Originals(FLANNEL, [CONFIG_MAP, agents(image)], wanted.old.network)


def test_they_are_kept_before_anything_else_is_changed(cluster: Cluster) -> None:
    cluster.having(OLD).change = change(FLANNEL, CALICO)
    maker = ByKubectl(None)
    maker.check(cluster)  # type: ignore[arg-type]
    assert cluster.kept == []
    maker.begin(cluster)  # type: ignore[arg-type]
    assert cluster.kept == [OLD]


@pytest.mark.parametrize("record", [NetworkRecord(now=FLANNEL), NetworkRecord()])
def test_what_the_builder_has_changed_since_comes_back_changed(
    cluster: Cluster, record: NetworkRecord
) -> None:
    cluster.having(NEW).change = replace(change(FLANNEL, CALICO), record=record)
    maker = ByKubectl(known(cluster.change, OLD))
    maker.check(cluster)  # type: ignore[arg-type]
    maker.begin(cluster)  # type: ignore[arg-type]
    assert cluster.kept == [NEW]
    found = read_originals(cluster, ["here"], cluster.change.source.inventory)  # type: ignore[arg-type]
    assert found is not None
    assert found.network == cluster.change.old.network


def test_on_the_way_they_are_what_was_there_first(cluster: Cluster) -> None:
    begun = change(FLANNEL, CALICO, begun=True)
    back = change(CALICO, FLANNEL, back=True)
    for each in (begun, back, replace(back, record=begun.record), replace(begun, begun=False)):
        cluster.having(NEW).change = each
        maker = ByKubectl(known(begun, OLD))
        maker.check(cluster)  # type: ignore[arg-type]
        maker.begin(cluster)  # type: ignore[arg-type]
        assert cluster.kept == [OLD]


def test_pools_of_the_builder_s_are_looked_at_by_whom_they_are(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Change] = []
    monkeypatch.setattr(others, "check_given_out", lambda wanted, plane: looked.append(wanted))
    first = change(CALICO, FLANNEL)
    originals = Originals(CALICO, [], first.old.network)
    monkeypatch.setattr(ByKubectl, "_found", lambda self, run: originals)
    ours, begun = change(FLANNEL, CALICO), change(CALICO, FLANNEL, begun=True)
    for each in (first, ours, begun):
        cluster.change = each
        ByKubectl(originals).check(cluster)  # type: ignore[arg-type]
    assert looked == [first]
