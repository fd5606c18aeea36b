"""`render` writes what would be sent, and what it writes is good."""

from __future__ import annotations

import base64
import gzip
import subprocess
from pathlib import Path

import pytest
from lab_cluster import ADMIN, NODES, PROVISION, LabCluster, provision

ALONE = """
ip link set lo up
ip route add local default dev lo
"$@" >&2 || exit
awk '$1 == "Tcp:" && $2 ~ /^[0-9]+$/ { print $6 }' /proc/net/snmp
"""
"""Where every address is this machine's, and connections are counted: Tcp's ActiveOpens."""


@pytest.fixture(scope="module")
def rendered(cluster: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    done = provision("render", cluster.inventory, "-o", folder / "out", "--save-facts", folder / "facts.json")
    assert done.status == 0, done
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def connections_of(*words: str | Path) -> int:
    """How many connections the command tried to make, which must end well."""
    argv = ["unshare", "--net", "sh", "-c", ALONE, "sh", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return int(done.stdout)


def test_the_files_are_those_on_the_hosts(cluster: LabCluster, rendered: Path) -> None:
    found = texts(rendered / "out")
    for host in NODES:
        on_host = cluster.one(host, "cat /etc/systemd/system/kubelet.service /etc/kubernetes/kubelet.yaml")
        ours = [f"{host}/etc/systemd/system/kubelet.service", f"{host}/etc/kubernetes/kubelet.yaml"]
        assert "".join(found[name] for name in ours).strip() == on_host
    assert "PRIVATE KEY" not in "".join(found.values())


def test_facts_of_a_file_stand_for_the_hosts(cluster: LabCluster, rendered: Path) -> None:
    """From a copy that names hosts which nobody can reach. Keys of a new cluster are made for it."""
    moved = cluster.edited(rendered, {cluster.address("worker1").rpartition(".")[0]: "192.0.2"})
    facts = rendered / "facts.json"
    words = (PROVISION, "render", moved, "kubelet", "-o", rendered / "offline", "--facts", facts)
    assert connections_of(*words) == 0
    offline = texts(rendered / "offline")
    assert "--node-ip=192.0.2.21" in offline["worker1/etc/systemd/system/kubelet.service"]


def test_the_api_server_would_take_the_manifests(cluster: LabCluster, rendered: Path) -> None:
    manifests = sorted((rendered / "out" / "manifests").iterdir())
    assert {path.stem for path in manifests} >= {"flannel", "coredns", "admission"}
    for path in manifests:
        packed = base64.b64encode(gzip.compress(path.read_bytes())).decode()
        apply = f"{ADMIN} apply --dry-run=server --server-side --force-conflicts --field-manager=tests -f -"
        answer = cluster.one("cp1", f"echo {packed} | base64 -d | gunzip | {apply}")
        assert answer.count("serverside-applied (server dry run)") == path.read_text().count("\n---\n") + 1
