"""A bundle is written, read, proved and pruned; damage is named."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import COMPONENTS, PAUSE, artifact, image

from provisioner.bundle import oci, publish, write
from provisioner.bundle.completeness import prove_complete
from provisioner.bundle.layout import Bundle
from provisioner.bundle.store import Store
from provisioner.bundle.verify import verify
from provisioner.engine.events import silent
from provisioner.errors import LockedError, ProvisionError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def bundle(store: Store, tmp_path: Path) -> Bundle:
    parts = [
        artifact(store, "kubelet", b"kubelet"),
        artifact(store, "kube-flannel", b"yaml"),
        image(store, "pause", b"p"),
    ]
    write.write_bundle(parts, store, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_artifacts(bundle: Bundle) -> None:
    found = bundle.artifact("kubelet")
    assert (found.version, found.platform, found.size) == ("v1.33.13", "linux/amd64", 7)
    assert found.path.read_bytes() == b"kubelet"
    assert found.path.name == found.sha256
    assert (found.source, found.module) == ("module", "k8s.io/kubernetes@v1.33.13")
    assert bundle.artifact("kube-flannel").title == "kube-flannel.yml"
    assert [content.name for content in bundle.artifacts()] == ["kubelet", "kube-flannel"]


@pytest.mark.parametrize(
    ("name", "platform", "version", "hint"),
    [
        ("kubelet", "linux/arm64", None, "linux/amd64"),
        ("kubelet", "linux/amd64", "v1.32.0", "v1.33.13"),
        ("etcd", "linux/amd64", None, "provision bundle build"),
    ],
)
def test_what_is_not_there_is_told(
    bundle: Bundle, name: str, platform: str, version: str | None, hint: str
) -> None:
    with pytest.raises(ProvisionError, match=name) as caught:
        bundle.artifact(name, platform, version)
    assert hint in caught.value.hint


def test_images(bundle: Bundle) -> None:
    found = bundle.image(PAUSE)
    assert (found.name, found.tag) == ("registry.k8s.io/pause", "3.10")
    assert found.digest == oci.digest_of(found.manifest)
    config = json.loads(found.blobs[0].path.read_bytes())
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["config"]["User"] == "65535:65535"
    assert [blob.media_type for blob in found.blobs] == [oci.CONFIG, oci.LAYER]
    with pytest.raises(ProvisionError) as caught:
        bundle.image("registry.k8s.io/pause:3.9")
    assert "3.10" in caught.value.hint


def test_an_image_runs_as_its_recipe_says(store: Store) -> None:
    component = COMPONENTS["calico-cni"]
    assert component.image
    given = (("PATH", "/opt/cni/bin"), ("SVDIR", "/etc/service"))
    changed = replace(component, image=replace(component.image, environment=given))
    config = store.path(publish.image(changed, [], "module", store).blobs[1].digest)
    run = json.loads(config.read_bytes())["config"]
    assert run["Env"] == ["PATH=/opt/cni/bin", "SVDIR=/etc/service"]
    assert run["WorkingDir"] == "/opt/cni/bin"
    assert run["Cmd"] == ["/opt/cni/bin/install"]
    assert "Entrypoint" not in run


def test_the_same_content_is_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    parts = [
        artifact(other, "kubelet", b"kubelet"),
        artifact(other, "kube-flannel", b"yaml"),
        image(other, "pause", b"p"),
    ]
    write.write_bundle(parts, other, tmp_path / "again")
    assert Bundle.open(tmp_path / "again").digest == bundle.digest


def test_a_new_version_replaces_the_old_one_and_its_blobs(bundle: Bundle, store: Store) -> None:
    old = bundle.artifact("kubelet").path
    write.write_bundle([artifact(store, "kubelet", b"newer")], store, bundle.path)
    changed = Bundle.open(bundle.path)
    assert changed.artifact("kubelet").path.read_bytes() == b"newer"
    assert not changed.images()
    assert not old.exists()


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="nothing: there is no such file or folder"):
        Bundle.open(tmp_path / "nothing")
    with pytest.raises(ProvisionError, match=r"is no bundle: it has no index\.json") as caught:
        Bundle.open(tmp_path)
    assert "provision bundle build" in caught.value.hint


def test_a_missing_blob(bundle: Bundle) -> None:
    bundle.artifact("kubelet").path.unlink()
    with pytest.raises(ProvisionError, match="incomplete") as caught:
        Bundle.open(bundle.path)
    assert "provision bundle build" in caught.value.hint


def test_a_cut_off_blob(bundle: Bundle) -> None:
    path = bundle.image(PAUSE).blobs[1].path
    path.unlink()
    path.write_bytes(b"x")
    with pytest.raises(ProvisionError, match="has 1 bytes"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "{}",
        "[]",
        '{"manifests": [{}]}',
        '{"manifests": [{"mediaType": "x", "digest": "sha256:../..", "size": 1}]}',
    ],
)
def test_an_index_that_is_none(bundle: Bundle, index: str) -> None:
    (bundle.path / "index.json").write_text(index)
    with pytest.raises(ProvisionError, match="OCI layout"):
        Bundle.open(bundle.path)


def test_verify_finds_one_changed_byte(bundle: Bundle) -> None:
    assert verify(bundle.path, silent).size > 0
    path = bundle.artifact("kubelet").path
    path.unlink()
    path.write_bytes(b"kubelex")
    with pytest.raises(ProvisionError, match=path.name):
        verify(bundle.path, silent)


def test_the_link_moves_at_once(tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        (tmp_path / name).mkdir(exist_ok=True)
        write.point(tmp_path / "current", tmp_path / name)
        assert (tmp_path / "current").resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "one", "two"]


def test_a_record_without_its_blobs_is_not_finished(store: Store) -> None:
    part = artifact(store, "kubelet", b"kubelet")
    assert store.finished("key") is None
    store.finish("key", part)
    assert store.finished("key") == part
    store.path(part.blobs[-1].digest).unlink()
    assert store.finished("key") is None


MANIFEST = b"""
kind: ConfigMap
data: {image: "no/container:1"}
---
kind: DaemonSet
spec:
  template:
    spec:
      initContainers: [{name: a, image: registry.k8s.io/pause:3.10}]
      containers: [{name: b, image: some/other:v1}]
"""


def test_a_manifest_that_asks_for_more_than_there_is(store: Store) -> None:
    parts = [artifact(store, "kube-flannel", MANIFEST), image(store, "pause", b"p")]
    with pytest.raises(ProvisionError) as caught:
        prove_complete(parts, store)
    assert caught.value.reason == "kube-flannel.yml asks for some/other:v1"
    prove_complete(parts, store, ["some/other:v1"])
    prove_complete(
        [artifact(store, "kube-flannel", MANIFEST.replace(b"some/other:v1", PAUSE.encode())), parts[1]], store
    )


def _build_at_the_same_time(root: Path) -> str:
    try:
        with Store(root).lock():
            return "went on"
    except LockedError as error:
        return error.reason


def test_one_build_at_a_time(store: Store) -> None:
    with store.lock(), multiprocessing.get_context("spawn").Pool(1) as pool:
        assert "another" in pool.apply(_build_at_the_same_time, (store.root,))
    assert _build_at_the_same_time(store.root) == "went on"
