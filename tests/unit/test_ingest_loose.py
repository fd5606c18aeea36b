"""A folder of files as people carry them into closed sites: each is known by what it has, whatever its name is."""

from __future__ import annotations

import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from archives import Made, layer, old_docker, packed, written

from provisioner.bundle import catalogue, write
from provisioner.bundle.ingest.take import take
from provisioner.bundle.layout import Bundle
from provisioner.bundle.store import Store
from provisioner.engine.events import Event, Note
from provisioner.errors import InputError

COMPONENTS = catalogue.load()
X86, ARM = 62, 183
ETCD_API = "dep\tgo.etcd.io/etcd/api/v3\tv3.5.13\n=>\t../api\t(devel)\t"


def text(data: bytes) -> bytes:
    """With its length before it, as a varint."""
    length, head = len(data), b""
    while length > 0x7F:
        head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
    return head + bytes([length]) + data


def program(package: str, *lines: str, machine: int = X86, stated: Sequence[bytes] = ()) -> bytes:
    """What a program of Go's has of itself, at a place that is as far in as in one of 2 MB."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)
    module = "".join(f"{line}\n" for line in (f"path\t{package}", *lines)).encode()
    info = (
        b"\xff Go buildinf:"
        + bytes([8, 2])
        + bytes(16)
        + text(b"go1.24.3")
        + text(b"<" * 16 + module + b">" * 16)
    )
    between = b"".join(b"\0" + each + b"\0" for each in stated)
    return head + bytes((1 << 21) - len(head)) + info + bytes(64) + between + bytes(64)


def kube(name: str, version: str = "v1.30.2", machine: int = X86) -> bytes:
    """As Kubernetes' release has it: of no version for Go, and what -X set is the one trace of it."""
    dependency = "dep\tgithub.com/x/y\tv1.2.3\th1:abc="
    return program(
        f"k8s.io/kubernetes/cmd/{name}",
        "mod\tk8s.io/kubernetes\t(devel)\t",
        dependency,
        machine=machine,
        stated=(version.encode(), b"30"),
    )


def plugins(folder: str = "./", version: str = "v1.3.0", names: Sequence[str] = ()) -> bytes:
    start = "github.com/containernetworking/plugins/plugins"
    variable = "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion"
    ldflags = f'build\t-ldflags="-X {variable}={version}"'
    places = {"bridge": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta", "vlan": "main"}
    chosen = names or tuple(places)
    members = {
        f"{folder}{name}": program(f"{start}/{places[name]}/{name}", "mod\tx\t(devel)\t", ldflags)
        for name in chosen
    }
    return packed({**members, f"{folder}README.md": b"x"})


def compressed(data: bytes) -> bytes:
    """By level 1: these programs are zeros."""
    import gzip

    return gzip.compress(data, 1, mtime=0)


def manifest(*objects: tuple[str, str, dict[str, object]]) -> bytes:
    return yaml.safe_dump_all(
        [
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}
            for kind, name, more in objects
        ]
    ).encode()


def runs(*images: str) -> dict[str, object]:
    return {"spec": {"template": {"spec": {"containers": [{"image": each} for each in images]}}}}


CALICO = manifest(
    ("ConfigMap", "calico-config", {"data": {"calico_backend": "bird"}}),
    ("DaemonSet", "calico-node", runs("docker.io/calico/cni:v3.28.1", "docker.io/calico/node:v3.28.1")),
    ("Deployment", "calico-kube-controllers", runs("docker.io/calico/kube-controllers:v3.28.1")),
)
FLANNEL = manifest(
    ("ConfigMap", "kube-flannel-cfg", {"data": {"net-conf.json": "{}"}}),
    ("DaemonSet", "kube-flannel-ds", runs("docker.io/flannel/flannel:v0.25.7")),
)
CRDS = manifest(("CustomResourceDefinition", "networksets.crd.projectcalico.org", {}))


def take_from(tmp_path: Path, *paths: Path) -> tuple[Bundle, list[str]]:
    said = list[Event]()
    store = Store(tmp_path / "store")
    write.write_bundle(take(paths, COMPONENTS, store, said.append), store, tmp_path / "bundle")
    notes = [each.message for each in said if isinstance(each, Note)]
    return Bundle.open(tmp_path / "bundle"), notes


def test_folder_as_the_articles_have_it(tmp_path: Path) -> None:
    """Under names that say nothing, or the wrong thing."""
    node = Made((layer("node"),))
    files = {
        "1": kube("kube-apiserver"),
        "kubectl": kube("kubelet"),
        "sub/etcd.txt": program("go.etcd.io/etcd/server/v3", "mod\tgo.etcd.io/etcd/server/v3\t(devel)\t", ETCD_API),
        "cni.tgz": compressed(plugins()),
        "calico.tar": packed(old_docker(node)),
        "a.yaml": CALICO,
        "crds": CRDS,
        "kube-flannel.yml": FLANNEL,
    }  # fmt: skip
    bundle, notes = take_from(tmp_path, written(tmp_path / "in", files))
    there = {each.name: (each.version, each.path.read_bytes()) for each in bundle.artifacts()}
    assert there == {
        "kube-apiserver": ("v1.30.2", files["1"]),
        "kubelet": ("v1.30.2", files["kubectl"]),
        "etcd": ("v3.5.13", files["sub/etcd.txt"]),
        "cni-plugins": ("v1.3.0", files["cni.tgz"]),
        "calico": ("v3.28.1", CALICO),
        "calico-crds": ("v3.28.1", CRDS),
        "kube-flannel": ("v0.25.7", FLANNEL),
    }
    assert [each.reference for each in bundle.images()] == ["docker.io/calico/node:v3.28.1"]
    assert f"{tmp_path}/in/kubectl: kubelet v1.30.2" in notes
    assert bundle.lacking(bundle.artifact("calico")) == (
        "docker.io/calico/cni:v3.28.1",
        "docker.io/calico/kube-controllers:v3.28.1",
    )
    assert {each.source for each in bundle.artifacts()} == {"file"}
    assert bundle.artifact("cni-plugins").title == "cni-plugins.tgz"


def test_release_archives(tmp_path: Path) -> None:
    members = {f"kubernetes/server/bin/{name}": kube(name) for name in ("kubelet", "kube-proxy", "kubectl")}
    members["kubernetes/server/bin/kubeadm"] = kube("kubeadm")
    members["kubernetes/server/bin/kube-proxy.tar"] = packed(old_docker(Made((layer("x"),))))
    folder = written(
        tmp_path / "in", {"a": compressed(packed(members)), "b": lzma.compress(plugins(), preset=0)}
    )
    bundle, notes = take_from(tmp_path, folder)
    assert {each.name for each in bundle.artifacts()} == {"kubelet", "kube-proxy", "kubectl", "cni-plugins"}
    assert bundle.artifact("kubelet").path.read_bytes() == members["kubernetes/server/bin/kubelet"]
    programs = "kubernetes/server/bin"
    kubeadm = f"{programs}/kubeadm is k8s.io/kubernetes/cmd/kubeadm: nothing of a bundle is made of it"
    image = f"{programs}/kube-proxy.tar is an archive within another one: unpack the outer one first"
    assert [each for each in notes if "not taken" in each] == [
        f"{folder}/a: not taken: {each}" for each in (kubeadm, image)
    ]
    with tarfile.open(bundle.artifact("cni-plugins").path, "r:gz") as archive:
        assert "./bridge" in archive.getnames()


UNUSED = {
    "runc": (
        program("github.com/opencontainers/runc", "mod\tgithub.com/opencontainers/runc\t(devel)\t"),
        "is github.com/opencontainers/runc: nothing of a bundle is made of it",
    ),
    "C": (program("")[:2000], "is a program for amd64, of which Go wrote down no origin"),
    "arm": (kube("kubelet", machine=ARM), "is kubelet for arm64, not for amd64"),
    "no release": (kube("kubelet", "v0.0.0-dirt"), "is kubelet, of which no release can be told from it"),
    "two releases": (
        program("k8s.io/kubernetes/cmd/kubelet", stated=(b"v1.30.2", b"v1.30.3")),
        "is kubelet, of which no release can be told from it",
    ),
    "32 bits": (b"\x7fELF\x01\x01" + bytes(100), "is no program for 64-bit machines"),
    "nothing": (b"", "is empty"),
    "text": (b"read me\n", "is no archive, program or manifest that is known"),
    "noise": (bytes(range(256)) * 40, "is no archive, program or manifest that is known"),
    "YAML": (b"a: [", "is no YAML that can be read (while parsing a flow node"),
    "aliases": (
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 121)),
        "is no YAML that can be read (it refers to itself, or is nested absurdly deep)",
    ),
    "pod": (manifest(("Pod", "x", {})), "is a manifest (Pod), none of those that bundles have"),
    "CRDs alone": (CRDS, "is calico-crds of which release it does not say, and nothing beside it does"),
    "deb": (b"!<arch>\ndebian-binary   ", "is a package of Debian; those come from its archive"),
    "nested plug-ins": (
        compressed(plugins("opt/cni/bin/")),
        "the CNI plug-ins are no archive of their own: bridge, host-local, loopback, portmap is not at its top",
    ),
    "some plug-ins": (
        compressed(plugins(names=("bridge", "loopback", "host-local"))),
        "the CNI plug-ins are no archive of their own: portmap is not at its top",
    ),
    "archive of texts": (packed({"a": b"x"}), "is an archive without images or programs"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSED)
def test_not_taken_with_the_reason(tmp_path: Path, case: str) -> None:
    content, reason = UNUSED[case]
    bundle, notes = take_from(tmp_path, written(tmp_path / "in", {"it": content}))
    assert bundle.contents == ()
    assert notes[0].startswith(f"{tmp_path}/in/it: not taken: {reason}")
    assert not list((tmp_path / "store" / "work").iterdir())


def test_file_that_is_named_has_to_be_of_use(tmp_path: Path) -> None:
    written(tmp_path, {"it": b"read me\n"})
    with pytest.raises(InputError) as caught:
        take_from(tmp_path, tmp_path / "it", tmp_path / "gone")
    assert str(caught.value) == (
        f"{tmp_path}/gone: --from: there is no such file or folder\n"
        f"{tmp_path}/it: it is no archive, program or manifest that is known"
    )


def test_two_of_one_component(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "in", {"1": kube("kubelet"), "2": kube("kubelet", "v1.30.3"), "3": kube("kubelet")}
    )
    with pytest.raises(InputError) as caught:
        take_from(tmp_path, folder)
    assert str(caught.value) == f"{folder}/2: has another kubelet than {folder}/1 (leave one of them out)"


def test_hostile_archive_of_plugins(tmp_path: Path) -> None:
    """It would be unpacked on every node."""
    target = io.BytesIO(plugins())
    with tarfile.open(fileobj=target, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/cron.d/evil"))
    path = written(tmp_path, {"cni.tgz": compressed(target.getvalue())}) / "cni.tgz"
    with pytest.raises(InputError, match=r"cni\.tgz: \.\./\.\./etc/cron\.d/evil: leads out of the archive"):
        take_from(tmp_path, path)


@pytest.mark.upstream
def test_manifests_of_upstream(tmp_path: Path) -> None:
    upstream = Path(os.environ["PROVISION_UPSTREAM"])
    for folder, names in {
        "calico-v3.28.1": ("calico", "calico-typha", "calico-policy-only", "canal", "tigera-operator"),
        "flannel-v0.25.7": ("kube-flannel",),
    }.items():
        suffix = ".yml" if folder.startswith("flannel") else ".yaml"
        paths = [upstream / folder / f"{name}{suffix}" for name in names]
        bundle, _ = take_from(tmp_path, *paths)
        assert {each.name: each.version for each in bundle.artifacts()} == dict.fromkeys(
            names, folder.rpartition("-")[2]
        )


@pytest.mark.parametrize("words", [["--source", "file"], ["kubelet", "calico"]])
def test_command(tmp_path: Path, words: list[str]) -> None:
    """Where there is neither Go nor a network: what files have is not built."""
    folder = written(tmp_path / "in", {"1": kube("kubelet"), "a.yaml": CALICO})
    argv = [str(Path(sys.executable).with_name("provision")), "bundle", "build", *words]
    argv += ["--from", str(folder), "-o", str(tmp_path / "out")]
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/nowhere", "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{folder}/1: kubelet v1.30.2" in done.stdout + done.stderr
    assert "asks for docker.io/calico/cni:v3.28.1" in done.stdout + done.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert [each["annotations"]["provision.component"] for each in index["manifests"]] == [
        "kubelet",
        "calico",
    ]


def test_command_without_files(tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).with_name("provision")), "bundle", "build", "--source", "file"]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "--source file takes what --from names" in done.stderr
