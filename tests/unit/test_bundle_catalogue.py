"""The catalogue against the modules that it names: pins, sums and upstream names agree."""

from __future__ import annotations

import re

import pytest

from provisioner.bundle import catalogue
from provisioner.bundle.catalogue import Component, File
from provisioner.bundle.chart import HELM
from provisioner.errors import InputError
from provisioner.network.combinations import operator_images
from provisioner.spec.calico import FEATURES

COMPONENTS = catalogue.load()
EVERY = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
# By wrapper: modules that carry a component under another version than its publisher.
OTHER_VERSION = {"flannel-cni-plugin": "v0.9.1", "calico": "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"}


@EVERY
def test_the_pinned_module_is_the_version_that_is_promised(component: Component) -> None:
    if component.module.directory:
        assert component.module.version() == OTHER_VERSION.get(component.module.directory, component.version)
        assert component.module.path in (component.module.wrapper / "go.sum").read_text()


@EVERY
def test_every_placeholder_is_filled(component: Component) -> None:
    assert not re.search(r"[{}]", repr(component.release) + " ".join(component.module.ldflags))


OPERATED = {"calico-apiserver", "calico-csi", "calico-node-driver-registrar", "calico-pod2daemon-flexvol"}
PUBLISHED_ONLY = {
    "multus", "multus-thick", "multus-cni", "multus-cni-thick", "tigera-operator-image", *OPERATED,
    "cilium-agent", "cilium-operator", "cilium-envoy", "hubble-relay", "hubble-ui", "hubble-ui-backend",
}  # fmt: skip


@EVERY
def test_every_component_has_both_sources(component: Component) -> None:
    assert component.published_only is (component.name in PUBLISHED_ONLY)
    if component.published_only:
        release = component.release
        assert component.tag or (release and release.url.startswith("https://") and len(release.sha256) == 64)
        return
    if component.kind == "image":
        assert component.reference
        assert component.tag
    if component.module.chart:
        return  # it is rendered here
    if component.kind == "image":
        assert component.image
        assert {package for _, package in component.image.programs} <= set(component.module.packages)
    else:
        assert component.release
        assert component.release.url.startswith("https://")
        assert component.release.checksum.startswith("https://")
    assert component.own or component.module.packages or component.module.file


def test_nobody_is_asked_for_what_is_our_own() -> None:
    """Its reference names no publisher, and it has no release: of Debian's packages alone, or rendered."""
    (own,) = (component for component in COMPONENTS if component.own and not component.module.chart)
    assert own.reference.startswith("localhost/")
    assert own.release is None
    assert own.image
    assert own.image.debian.packages
    assert not own.module.packages


def staging(component: Component) -> dict[str, str]:
    """What stands for the modules of Kubernetes, which name each other without a version."""
    text = (component.module.wrapper / "go.mod").read_text()
    return dict(re.findall(r"^\tk8s\.io/(\S+) => k8s\.io/\1 (\S+)$", text, re.MULTILINE))


def test_the_staging_modules_of_kubernetes_are_of_one_release() -> None:
    kubelet = next(component for component in COMPONENTS if component.name == "kubelet")
    replaced = staging(kubelet)
    assert len(replaced) > 20
    assert set(replaced.values()) == {kubelet.version.replace("v1.", "v0.", 1)}


CALICO = {component.name: component for component in COMPONENTS if component.module.directory == "calico"}


def test_all_of_calico_is_of_one_release() -> None:
    assert len(CALICO) > 10
    assert {component.version for component in CALICO.values()} == {"v3.28.5"}
    assert {component.module.toolchain for component in CALICO.values()} == {"go1.23.8"}
    replaced = staging(CALICO["calico-node"])
    assert replaced.pop("kubernetes") == "v1.29.15"
    assert len(replaced) > 20
    assert set(replaced.values()) == {"v0.29.15"}


def test_calico_is_named_as_its_manifests_do() -> None:
    assert {each.wanted_name for each in CALICO.values() if each.kind == "image"} == {
        f"docker.io/calico/{name}:v3.28.5" for name in ("node", "cni", "kube-controllers", "typha")
    }
    release = CALICO["calico-typha"].release
    assert release
    assert release.member == "release-v3.28.5/manifests/calico-typha.yaml"


def test_what_calico_s_operator_pulls_can_be_had() -> None:
    """All of it, of the release of the manifests, where publishers answer."""
    (operator,) = (each for each in COMPONENTS if each.name == "tigera-operator-image")
    (manifest,) = (each for each in COMPONENTS if each.name == "tigera-operator")
    assert manifest.without == (operator.wanted_name,)
    images = {each.wanted_name for each in COMPONENTS if each.kind == "image"}
    wanted = operator_images([operator.wanted_name], FEATURES)
    assert {f"docker.io/calico/{name}:{manifest.version}" for name in wanted} <= images


def test_an_image_has_files_of_its_own_and_of_its_module() -> None:
    node, controllers = CALICO["calico-node"].image, CALICO["calico-kube-controllers"].image
    assert node
    assert controllers
    assert dict(node.environment) == {"SVDIR": "/etc/service/enabled"}
    assert dict(node.tree)["/usr/sbin"] == "node/filesystem/sbin"
    assert [edit.drop for edit in node.edits] == ["krt_tunnel"]
    assert File("/status/status.json", owner=999) in controllers.files
    assert CALICO["calico-cni"].image
    assert dict(CALICO["calico-cni"].image.links) == {"/opt/cni/bin/calico-ipam": "calico"}


CHARTS = [component for component in COMPONENTS if component.module.chart]


def test_a_chart_draws_nothing_at_random() -> None:
    """Helm would draw Hubble's keys, and everybody with the bundle would have them."""
    assert [component.name for component in CHARTS] == ["cilium", "cilium-hubble", "cilium-hubble-ui"]
    for component in CHARTS:
        assert component.own
        assert component.release is None
        assert component.module.chart
        values = dict(component.module.chart.values)
        assert values.get("hubble.enabled") == "false" or values["hubble.tls.auto.enabled"] == "false"
        assert values["image.useDigest"] == "false", "images are named as the bundle's index has them"
        assert "helm.sh/helm/v3 v3." in (HELM.wrapper / "go.sum").read_text()
    assert HELM.version().startswith("v3.")


def test_cilium_is_of_one_release() -> None:
    images = {component.name: component for component in COMPONENTS if component.on_request == "cilium"}
    assert set(images) == {
        "cilium-agent", "cilium-operator", "cilium-envoy", "hubble-relay", "hubble-ui", "hubble-ui-backend"
    }  # fmt: skip
    same = {images[name].version for name in ("cilium-agent", "cilium-operator", "hubble-relay")}
    assert same == {component.version for component in CHARTS}
    assert all(each.reference.startswith("quay.io/cilium/") for each in images.values())


def test_no_two_components_have_one_name() -> None:
    for names in (
        [component.name for component in COMPONENTS],
        [component.wanted_name for component in COMPONENTS],
    ):
        assert len(names) == len(set(names))


def test_what_a_cluster_asks_for_is_there() -> None:
    names = {component.name for component in COMPONENTS}
    assert names >= {"kube-apiserver", "kubelet", "kubectl", "etcd", "etcdctl", "cni-plugins", "kube-flannel"}
    images = {component.reference for component in COMPONENTS if component.kind == "image"}
    assert images >= {
        "registry.k8s.io/pause",
        "registry.k8s.io/coredns/coredns",
        "ghcr.io/flannel-io/flannel",
    }


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError) as caught:
        catalogue.select(COMPONENTS, ["kubelt", "nosuch"])
    assert [(each.reason, each.hint.partition(",")[0]) for each in caught.value.problems] == [
        ("no component is named 'kubelt'", "did you mean 'kubelet'?"),
        ("no component is named 'nosuch'", "known: agnhost"),
    ]
    assert [component.name for component in catalogue.select(COMPONENTS, ["pause", "etcd"])] == [
        "etcd",
        "pause",
    ]
