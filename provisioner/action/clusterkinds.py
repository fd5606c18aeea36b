"""The cluster's own kinds. They are made for one run, with what they need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from provisioner.action.registryaccess import registry_of
from provisioner.action.registrytrust import pullable_from
from provisioner.bundle.kind import ArtifactKind
from provisioner.bundle.layout import Bundle
from provisioner.bundle.preloaded import PreloadedImageKind
from provisioner.engine.events import Emit
from provisioner.kube.apicertificate import ApiCertificateKind
from provisioner.kube.bgp import CalicoMeshKind, CalicoReflectorsKind
from provisioner.kube.components import ComponentsKind
from provisioner.kube.etcd import EtcdMemberKind, EtcdSeedKind
from provisioner.kube.join import NodeJoinedKind
from provisioner.kube.kubeconfig import Kubeconfig
from provisioner.kube.kubeconfigserver import HostKubeconfigs, KubeconfigServerKind
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.marks import NodeMarksKind
from provisioner.kube.switch import EndpointSwitchKind
from provisioner.kube.token import BootstrapKubeconfigKind, BootstrapToken, BootstrapTokenKind
from provisioner.pki.certificate import CertificateKind
from provisioner.pki.cluster import ClusterState
from provisioner.pki.reissue import lacking, reissued
from provisioner.registry.kind import ImageKind
from provisioner.registry.pulled import PulledImageKind
from provisioner.resources.model import Module
from provisioner.resources.package import PackageKind
from provisioner.resources.packagefiles import PackageFiles
from provisioner.spec.model import ClusterSpec


@dataclass(frozen=True)
class ClusterKinds:
    """What the domain's kinds are made of."""

    spec: ClusterSpec
    bundle: Bundle
    state: ClusterState
    platforms: Mapping[str, str]
    token: BootstrapToken
    emit: Emit
    deep: bool = False
    package_files: Mapping[str, PackageFiles] = field(default_factory=dict)
    api_certificates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    kubeconfigs: Mapping[str, HostKubeconfigs] = field(default_factory=dict)
    """Of a cluster that others have built."""


def cluster_modules(parts: ClusterKinds) -> dict[str, Module]:
    """The cluster's own kinds, by module."""
    registry, harbor = registry_of(parts.spec, parts.state, parts.emit)
    return {
        "package": PackageKind(parts.package_files),
        "artifact": ArtifactKind(parts.bundle, parts.platforms, deep=parts.deep),
        "image": ImageKind(registry, parts.spec.registry.project, parts.bundle.image, parts.emit, harbor),
        "pulled_image": PulledImageKind(),
        "preloaded_image": PreloadedImageKind(
            parts.bundle.image, partial(pullable_from, parts.spec.registry)
        ),
        "certificate": CertificateKind(parts.state.authorities),
        "kubeconfig": Kubeconfig(),
        "manifest": ManifestKind(),
        "components": ComponentsKind(),
        "endpoint_switch": EndpointSwitchKind(),
        "etcd_seed": EtcdSeedKind(),
        "calico_reflectors": CalicoReflectorsKind(),
        "calico_mesh": CalicoMeshKind(),
        "etcd_member": EtcdMemberKind(),
        "node_marks": NodeMarksKind(),
        "node_joined": NodeJoinedKind(parts.token, parts.emit),
        "bootstrap_token": BootstrapTokenKind(parts.token),
        "bootstrap_kubeconfig": BootstrapKubeconfigKind(parts.token),
        "api_certificate": ApiCertificateKind(
            lacking, partial(reissued, parts.state.authorities["kubernetes"]), parts.api_certificates
        ),
        "kubeconfig_server": KubeconfigServerKind(parts.kubeconfigs),
    }
