"""What a host that leaves keeps."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from localhost import SHELLS
from migrations import CALICO, FLANNEL, loaded

from provisioner.action.clearing import attached_to, pod_cidrs_of
from provisioner.kube.halt import NOTES, Registry, clear_script, halt_script, remember_script
from provisioner.kube.lookagain import look_script, parse_look
from provisioner.shell.script import Script


def test_nothing_of_a_load_balancer_stays_in_run(tmp_path: Path) -> None:
    for each in ("run/api-load-balancer/down/10.0.0.1:6443", "run/provision/units/x", "run/others/x"):
        (tmp_path / each).parent.mkdir(parents=True)
        (tmp_path / each).touch()
    (tmp_path / "var/lib/provision").mkdir(parents=True)
    cleared(tmp_path)
    assert [each.name for each in (tmp_path / "run").iterdir() if each.name != "provision"] == ["others"]


def test_carried_mirrors_go_while_they_are_as_they_were_written(tmp_path: Path) -> None:
    memory = tmp_path / "var/lib/provision/carried-mirrors"
    memory.parent.mkdir(parents=True)
    files = {
        name: tmp_path / f"etc/containerd/certs.d/{name}/hosts.toml" for name in ("same", "edited", "gone")
    }
    for name, path in files.items():
        path.parent.mkdir(parents=True)
        path.write_text(name)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
    memory.write_text("".join(f"{digests[name]} {path}\n" for name, path in files.items()))
    files["edited"].write_text("by others")
    files["gone"].unlink()
    cleared(tmp_path)
    left = sorted(path.name for path in (tmp_path / "etc/containerd/certs.d").iterdir())
    assert (left, files["edited"].read_text()) == (["edited"], "by others")


def test_what_stays_is_remembered_with_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/provision"
    for name in ("stamps/a", "archives/a", "state/state.json", "journal", "owned"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    cleared(tmp_path, memory=["one", "two"])
    assert sorted(path.name for path in folder.iterdir()) == ["archives", "owned", "stamps"]
    assert (folder / "owned").read_text() == "old\none\ntwo\n"


def test_data_behind_a_link_goes_and_the_link_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    for each in ("etcd/member/snap/db", "etcd/.hidden", "others/file"):
        (disk / each).parent.mkdir(parents=True, exist_ok=True)
        (disk / each).touch()
    link = tmp_path / "var/lib/etcd"
    link.parent.mkdir(parents=True)
    link.symlink_to(disk / "etcd")
    assert parse_look(ran(tmp_path, look_script(["etcd.service"], []))).left == (f"files in {link}",)
    ran(tmp_path, halt_script({"etcd.service"}, []))
    assert link.is_symlink()
    assert sorted(str(each.relative_to(disk)) for each in disk.rglob("*")) == [
        "etcd",
        "others",
        "others/file",
    ]
    assert parse_look(ran(tmp_path, look_script(["etcd.service"], []))).left == ()
    ran(tmp_path, halt_script({"etcd.service"}, []))


def test_data_in_a_folder_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "var/lib/etcd/member").mkdir(parents=True)
    ran(tmp_path, halt_script({"etcd.service"}, []))
    assert [each.name for each in (tmp_path / "var/lib").iterdir()] == ["provision"]


def test_images_of_a_registry_go_only_with_one_of_ours(tmp_path: Path) -> None:
    image = tmp_path / "var/lib/docker-registry/docker/registry/v2/blobs/a"
    image.parent.mkdir(parents=True)
    image.touch()
    (tmp_path / "var/lib/docker-registry/others").touch()
    ran(tmp_path, halt_script(set(), []))
    cleared(tmp_path)
    assert image.exists()
    ran(
        tmp_path,
        halt_script(set(), [], registry=Registry("docker-registry.service", "/var/lib/docker-registry")),
    )
    assert [each.name for each in (tmp_path / "var/lib/docker-registry").iterdir()] == ["others"]


def test_what_a_host_remembers_goes_last(tmp_path: Path) -> None:
    lines = clear_script().main.splitlines()
    rest = next(at for at, line in enumerate(lines) if "-exec rm -rf" in line)
    assert "! -name owned" in lines[rest]
    assert lines.index("rm -f /var/lib/provision/owned") > rest
    (tmp_path / "var/lib/provision").mkdir(parents=True)
    ran(tmp_path, remember_script(["kept"]))
    assert (tmp_path / "var/lib/provision/owned").read_text().split() == ["kept"]


def test_containers_that_live_are_seen_where_the_runtime_does_not_start(tmp_path: Path) -> None:
    tasks = tmp_path / "run/containerd/io.containerd.runtime.v2.task"
    for name, pid in (("k8s.io/cafe", os.getpid()), ("k8s.io/dead", 2**30), ("moby/beef", os.getpid())):
        (tasks / name).mkdir(parents=True)
        (tasks / name / "init.pid").write_text(str(pid))
    (left,) = parse_look(ran(tmp_path, look_script([], []))).left
    assert left.startswith("the container cafe, ")


@pytest.mark.parametrize("shell", SHELLS)
def test_only_the_notes_of_that_very_container_go(tmp_path: Path, shell: str) -> None:
    notes = {
        "networks/podman/10.88.0.2": "cafa\r\neth0",
        "networks/podman/10.88.0.3": "b-a\r\neth0",
        "networks/podman/10.88.0.4": "fa\r\na",
        "networks/podman/10.88.0.5": "a\r\neth0",
        "networks/mine/10.88.1.2": "a",
        "results/net-a-eth0": '{"kind":"cniCacheV1","containerId":"a"}',
        "results/net-a-b-eth0": '{"kind":"cniCacheV1","containerId":"a-b"}',
        "results/a-a-cafa-eth0": '{"kind":"cniCacheV1","containerId":"cafa"}',
        "results/net-a-my-if": '{"kind":"cniCacheV1","containerId":"a","ifName":"my-if"}',
        "cache/results/net-a-eth0": "{}",
        "cache/results/net-a-cafa-eth0": "{}",
    }
    for name, text in notes.items():
        (tmp_path / "var/lib/cni" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "var/lib/cni" / name).write_text(text)
    text = f"{NOTES}forget_notes a\n".replace("/var/lib/cni", f"{tmp_path}/var/lib/cni")
    subprocess.run([shell, *(["sh"] if shell == "busybox" else []), "-euc", text], check=True)
    left = {str(each.relative_to(tmp_path / "var/lib/cni")) for each in tmp_path.rglob("*") if each.is_file()}
    assert left == {
        *(f"networks/podman/10.88.0.{each}" for each in (2, 3, 4)),
        "results/net-a-b-eth0",
        "results/a-a-cafa-eth0",
        "cache/results/net-a-cafa-eth0",
    }


def test_pods_have_addresses_of_pools_too_and_without_a_cluster_none() -> None:
    other = {**CALICO, "pod_cidrs": ["10.244.128.0/17"]}
    assert pod_cidrs_of(loaded(other)) == ["10.244.128.0/17"]
    assert pod_cidrs_of(loaded(CALICO)) == ["10.244.0.0/16", "10.244.128.0/17"]
    assert pod_cidrs_of(replace(loaded(), spec=None)) == []
    before = {"plugin": "calico", "calico": {"pools": [{"name": "former", "cidr": "10.99.0.0/16"}]}}
    assert pod_cidrs_of(loaded(FLANNEL), [before]) == ["10.244.0.0/16", "10.99.0.0/16"]


def test_networks_beside_the_cluster_s_own_are_known_by_cni_s_names() -> None:
    attached = {"name": "storage", "type": "bridge", "bridge": "br0"}
    assert attached_to(loaded({**FLANNEL, "attachments": [attached]})) == ["default.storage"]
    assert attached_to(replace(loaded(), spec=None)) == []


def cleared(root: Path, memory: Sequence[str] = ()) -> None:
    ran(root, clear_script(memory=memory))


def ran(root: Path, script: Script) -> str:
    """What it prints with folders below `root`, and no units."""
    text = re.sub(r"(?<![\w/])/(etc|opt|var|run)/", rf"{root}/\1/", script.main)

    for name, blob in script.payload.items():
        assert blob.data is not None
        (root / name).write_bytes(blob.data)
    programs = root / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (programs / "systemctl").chmod(0o755)
    environment = {**os.environ, "W": str(root), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
