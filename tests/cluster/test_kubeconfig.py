"""`provision kubeconfig` on a real cluster: kubectl on this machine gets in with it, for as long as it may."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from lab_cluster import NODES, Done, LabCluster, provision

from provisioner.bundle.layout import Bundle, default_bundle_path

GROUP = "provision:cluster-admins"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the bundle, to be run here."""
    path = tmp_path_factory.mktemp("bin") / "kubectl"
    shutil.copy(Bundle.open(default_bundle_path()).artifact("kubectl").path, path)
    path.chmod(0o755)
    return path


def run(kubectl: Path, kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(kubectl), f"--kubeconfig={kubeconfig}", "--request-timeout=20s", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def made(cluster: LabCluster, path: Path, *words: str) -> Done:
    done = provision("kubeconfig", cluster.inventory, "-o", path, "--json", *words)
    assert done.status == 0, done
    return done


def test_it_lets_an_administrator_in(cluster: LabCluster, kubectl: Path, tmp_path: Path) -> None:
    path = tmp_path / "k"
    done = made(cluster, path, "--user", "ann", "--expiry", "10m")
    assert done.only("Written")["user"] == "provision:ann"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = run(kubectl, path, "get", "nodes", "-o", "name")
    assert sorted(found.stdout.split()) == sorted(f"node/{name}" for name in NODES), found
    who = json.loads(run(kubectl, path, "auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("provision:ann", [GROUP, "system:authenticated"])
    assert run(kubectl, path, "auth", "can-i", "*", "*", "-A").stdout.strip() == "yes"


def test_after_its_time_it_lets_nobody_in(cluster: LabCluster, kubectl: Path, tmp_path: Path) -> None:
    path = tmp_path / "k"
    made(cluster, path, "--expiry", "1s")
    time.sleep(1.5)
    done = run(kubectl, path, "get", "nodes")
    assert done.returncode != 0
    assert "Unauthorized" in done.stderr or "logged in" in done.stderr, done


def test_without_the_binding_it_is_worth_nothing(cluster: LabCluster, kubectl: Path, tmp_path: Path) -> None:
    path = tmp_path / "k"
    made(cluster, path)
    cluster.kubectl(f"delete clusterrolebinding {GROUP}")
    try:
        done = run(kubectl, path, "get", "nodes")
        assert "Forbidden" in done.stderr, done
        refused = provision("kubeconfig", cluster.inventory, "-o", tmp_path / "other", "--json")
        assert refused.status == 1
        assert "--stage admission" in refused.only("Error")["hint"]
        assert not (tmp_path / "other").exists()
    finally:
        mended = cluster.apply("--stage", "admission")
    assert mended.changed == {("cp1", "manifest:admission", "update")}
    assert run(kubectl, path, "get", "nodes").returncode == 0


def test_another_way_to_the_server(cluster: LabCluster, kubectl: Path, tmp_path: Path) -> None:
    """By an address that the API server's certificate does not know: no check is given up."""
    path = tmp_path / "k"
    worker, plane = cluster.address("worker1"), cluster.address("cp1")
    made(cluster, path, "--server", f"https://{plane}:6443")
    assert run(kubectl, path, "get", "nodes").returncode == 0
    text = path.read_text()
    assert f"tls-server-name: {plane}" in text
    path.write_text(text.replace(f"tls-server-name: {plane}", f"tls-server-name: {worker}"))
    assert "certificate is valid for" in run(kubectl, path, "get", "nodes").stderr


def test_printed_only_when_asked_for(cluster: LabCluster, tmp_path: Path) -> None:
    done = provision("kubeconfig", cluster.inventory, "-o", tmp_path / "k")
    assert "key" not in done.stdout + done.stderr
    printed = provision("kubeconfig", cluster.inventory, "-o", "-")
    assert "client-key-data" in printed.stdout
    assert "client-key-data" not in printed.stderr


def test_a_file_that_is_there_stays(cluster: LabCluster, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("mine")
    done = provision("kubeconfig", cluster.inventory, "-o", path, "--json")
    assert (done.status, path.read_text()) == (3, "mine")
    made(cluster, path, "--force")
    assert path.read_text() != "mine"
