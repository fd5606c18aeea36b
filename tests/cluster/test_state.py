"""The cluster's state lives with the cluster: any controller goes on, nothing is minted twice, formats come along."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from lab_cluster import PROVISION, Done, LabCluster, is_verified, provision, until
from platformdirs import user_cache_path

from provisioner.inventory.secrets import Secret
from provisioner.pki.authority import LEAF_DAYS, Leaf, issue, new_authority
from provisioner.pki.cluster import STATE_FILE, parse_state

ETCDCTL = (
    "/opt/kubernetes/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt"
    " --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key"
)


@pytest.fixture
def state(cluster: LabCluster) -> Iterator[dict[str, Any]]:
    """The state file's content; it is put back."""
    cluster.one("cp1", f"cp -a {STATE_FILE} /root/state.json")
    yield json.loads(cluster.one("cp1", f"cat {STATE_FILE}"))
    cluster.one("cp1", f"mv /root/state.json {STATE_FILE}")


def another_controller(cluster: LabCluster, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of somebody who has the inventory, a key and the bundle, and nothing else."""
    for name in ("id_ed25519", "known_hosts"):
        shutil.copy(cluster.folder / name, folder / name)
    text = cluster.inventory.read_text()
    text = re.sub(r"(?m)^    lab:\n(      .*\n)+", "", text)
    bundle = (user_cache_path("provision") / "bundles" / "current").resolve()
    text = text.replace(
        "    ansible_user: root\n",
        f"    ansible_user: root\n    ansible_ssh_private_key_file: {folder}/id_ed25519\n",
    )
    text = text.replace("      name: lab\n", f"      name: lab\n      bundle: {bundle}\n", 1)
    (folder / "inventory.yaml").write_text(text)
    home = folder / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "PROVISION"))}
    return [str(PROVISION), "apply", str(folder / "inventory.yaml"), "--json"], {**kept, "HOME": str(home)}


def test_a_controller_that_never_saw_the_cluster_goes_on(cluster: LabCluster, tmp_path: Path) -> None:
    argv, environment = another_controller(cluster, tmp_path)
    run = subprocess.run(
        argv, env=environment, cwd="/", capture_output=True, text=True, timeout=240, check=False
    )
    done = Done(run.returncode, run.stdout, run.stderr, 0.0)
    assert is_verified(done), done
    assert done.changed == set()


def test_a_lost_state_is_not_minted_anew(cluster: LabCluster, state: dict[str, Any]) -> None:
    cluster.one("cp1", f"rm {STATE_FILE}")
    for done in (cluster.plan(), cluster.apply("--yes")):
        assert done.status == 1
        assert "keys are on none of the control-plane hosts" in done.stdout + done.stderr
    assert cluster.one("cp1", f"ls {STATE_FILE} 2>/dev/null || echo none") == "none"


def test_a_newer_format_is_refused(cluster: LabCluster, state: dict[str, Any]) -> None:
    newer = json.dumps({**state, "format": 99})
    cluster.one("cp1", f"cat >{STATE_FILE} <<'END'\n{newer}\nEND")
    done = cluster.apply("--yes")
    assert done.status == 1
    assert "has format 99, this version knows" in done.stdout + done.stderr


def test_an_older_format_comes_along(cluster: LabCluster) -> None:
    """Format 1 knew no encryption: the key is added, and the API server gets it."""
    assert cluster.objects("secrets -A") == [], "they would be lost: this cluster was never of format 1"
    state = json.loads(cluster.one("cp1", f"cat {STATE_FILE}"))
    old = json.dumps(
        {key: value for key, value in state.items() if key not in {"encryption_key", "fixed"}} | {"format": 1}
    )
    cluster.one("cp1", f"cat >{STATE_FILE} <<'END'\n{old}\nEND")
    asked = cluster.apply()
    assert asked.status == 1
    assert "restarts kube-apiserver.service" in asked.stdout + asked.stderr
    done = cluster.apply("--yes", "--stage", "state", "--stage", "kube-apiserver", "--stage", "API servers")
    assert done.status == 0, done
    assert {resource for _, resource, _ in done.changed} == {
        f"file:{STATE_FILE}",
        "file:/etc/kubernetes/encryption.yaml",
        "systemd:kube-apiserver.service",
    }
    # An API server takes about as long to stop as the controllers' lease lasts: they may end with it and come back.
    controllers = "systemctl is-active kube-controller-manager kube-scheduler || :"
    until(lambda: cluster.one("cp1", controllers).split() == ["active", "active"], "controllers")
    assert cluster.plan().status == 0
    cluster.kubectl("create secret generic after --from-literal=word=hidden")
    assert cluster.kubectl("get secret after -o jsonpath='{.data.word}'") == "aGlkZGVu"
    stored = cluster.one(
        "cp1", f"{ETCDCTL} get /registry/secrets/default/after --print-value-only | head -c 40 | tr -d '\\0'"
    )
    assert stored.startswith("k8s:enc:secretbox:v1:key1:")
    cluster.kubectl("delete secret after --ignore-not-found")


def test_secrets_lie_encrypted(cluster: LabCluster) -> None:
    cluster.kubectl("create secret generic hidden --from-literal=word=hunter2")
    raw = cluster.one("cp1", f"{ETCDCTL} get /registry/secrets/default/hidden | grep -c hunter2 || :")
    cluster.kubectl("delete secret hidden")
    assert raw == "0"


def test_certificates_that_mean_something_else_are_issued_anew_and_nothing_else(cluster: LabCluster) -> None:
    """One ends tomorrow, one has a name that is not wanted, one is by another authority."""
    state = parse_state(Secret.text(cluster.one("cp1", f"cat {STATE_FILE}")), "cp1")
    ours, name = state.authorities["kubernetes"], "system:kube-proxy"
    wrong = {
        "worker1": ("expiry", issue(ours, Leaf(name, days=1))),
        "worker2": ("sans", issue(ours, Leaf(name, sans=("elsewhere",)))),
        "cp1": ("issuer", issue(new_authority("kubernetes-ca"), Leaf(name))),
    }
    path = "/etc/kubernetes/pki/kube-proxy"
    for host, (_, pair) in wrong.items():
        put = f"cat >{path}.crt <<'END'\n{pair.cert}END\numask 077; cat >{path}.key <<'END'\n{pair.key.reveal()}END\n"
        cluster.one(host, f"{put}sleep 1.1; systemctl restart kube-proxy")
    planned = cluster.plan().only("Plan")["changes"]
    keys = {each["host"]: each["keys"] for each in planned if each["resource"] == f"certificate:{path}"}
    assert {host: set(found) - {"key"} for host, found in keys.items()} == {
        host: {key} for host, (key, _) in wrong.items()
    }
    done = cluster.apply()
    assert is_verified(done), done
    assert done.changed == {
        (host, *what)
        for host in wrong
        for what in ((f"certificate:{path}", "update"), ("systemd:kube-proxy.service", "restart"))
    }
    for pem in cluster.on("kube_control_plane:kube_node", f"cat {path}.crt").values():
        left = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc - dt.datetime.now(dt.UTC)
        assert left > dt.timedelta(days=LEAF_DAYS - 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "pod_cidrs: [10.244.0.0/16]",
            "pod_cidrs: [10.240.0.0/16]",
            "pod_cidrs: the cluster runs with [10.244.0.0/16]",
        ),
        (
            "service_cidrs: [10.96.0.0/16]",
            "service_cidrs: [10.97.0.0/16]",
            "service_cidrs: the cluster runs with",
        ),
    ],
)
def test_what_cannot_change_is_refused_where_it_is_written(
    cluster: LabCluster, tmp_path: Path, old: str, new: str, words: str
) -> None:
    inventory = cluster.edited(tmp_path, {old: new})
    line = next(number for number, text in enumerate(inventory.read_text().splitlines(), 1) if new in text)
    before = cluster.on("all", "cat /var/lib/provision/last-change")
    for command in ("plan", "apply", "verify"):
        done = provision(command, inventory)
        assert done.status == 3, done
        assert f"{inventory}:{line}:" in done.stderr
        assert words in done.stderr
    assert cluster.on("all", "cat /var/lib/provision/last-change") == before
