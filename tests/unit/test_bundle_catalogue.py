"""The catalogue against the modules that it names: pins, sums and upstream names agree."""

from __future__ import annotations

import re

import pytest

from provisioner.bundle import catalogue
from provisioner.bundle.catalogue import Component
from provisioner.errors import InputError

COMPONENTS = catalogue.load()
EVERY = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
# What the plug-in's module carries under another version than the image that ships it upstream.
OTHER_VERSION = {"flannel-cni-plugin": "v0.9.1"}


@EVERY
def test_the_pinned_module_is_the_version_that_is_promised(component: Component) -> None:
    if component.module.directory:
        assert component.module.version() == OTHER_VERSION.get(component.name, component.version)
        assert component.module.path in (component.module.wrapper / "go.sum").read_text()


@EVERY
def test_every_placeholder_is_filled(component: Component) -> None:
    assert not re.search(r"[{}]", repr(component.release) + " ".join(component.module.ldflags))


@EVERY
def test_every_component_has_both_sources(component: Component) -> None:
    if component.kind == "image":
        assert component.reference
        assert component.tag
        assert component.image
        assert {package for _, package in component.image.programs} <= set(component.module.packages)
    else:
        assert component.release
        assert component.release.url.startswith("https://")
        assert component.release.checksum.startswith("https://")
    assert component.module.packages or component.module.file


def test_the_staging_modules_of_kubernetes_are_of_one_release() -> None:
    kubelet = next(component for component in COMPONENTS if component.name == "kubelet")
    text = (kubelet.module.wrapper / "go.mod").read_text()
    replaced = re.findall(r"^\tk8s\.io/(\S+) => k8s\.io/\1 (\S+)$", text, re.MULTILINE)
    assert len(replaced) > 20
    assert {version for _, version in replaced} == {kubelet.version.replace("v1.", "v0.", 1)}


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
