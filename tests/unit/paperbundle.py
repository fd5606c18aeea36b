"""A bundle on paper: all that the catalogue names, as empty archives; manifests of networks, because variables read
them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import yaml
from papercilium import IMAGES as CILIUM
from papercilium import paper_cilium

from provisioner.action.variables import AGNHOST, COREDNS, PAUSE
from provisioner.bundle import catalogue
from provisioner.bundle.layout import Artifact, Bundle, Image

FLANNEL = """
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data: {net-conf.json: "{}", cni-conf.json: "{}"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    metadata: {labels: {app: flannel}}
    spec:
      initContainers:
        - {name: install-cni-plugin, image: "example.org/plugin:v1"}
        - {name: install-cni, image: "example.org/flannel:v1"}
      containers:
        - name: kube-flannel
          image: example.org/flannel:v1
          args: [--ip-masq, --kube-subnet-mgr]
          env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
          securityContext: {privileged: false}
"""


def definition(name: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A CustomResourceDefinition whose objects have a `spec` of that schema."""
    version = {"name": "v1", "storage": True}
    version["schema"] = {"openAPIV3Schema": {"properties": {"spec": schema}}}
    return {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": name},
        "spec": {"names": {"kind": kind}, "versions": [version]},
    }


def of_types(types: str) -> dict[str, Any]:
    """A schema of an object, by the types of its fields in YAML."""
    return {"type": "object", "properties": yaml.safe_load(types)}


FELIX = yaml.safe_dump(
    definition(
        "felixconfigurations.crd.projectcalico.org",
        "FelixConfiguration",
        of_types("""
wireguardEnabled: {type: boolean}
logSeverityScreen: {type: string}
reportingInterval: {type: string}
healthPort: {type: integer}
healthHost: {type: string}
"""),
    )
)
"""The definition of a FelixConfiguration with the fields that the tool itself writes or reads."""

_MULTUS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: network-attachment-definitions.k8s.cni.cncf.io}
spec: {group: k8s.cni.cncf.io, scope: Namespaced, names: {kind: NetworkAttachmentDefinition}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: multus-daemon-config, namespace: kube-system}
data: {daemon-config.json: '{"cniConfigDir": "/host/etc/cni/net.d", "multusConfigFile": "auto"}'}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-multus-ds, namespace: kube-system}
spec:
  template:
    metadata: {labels: {name: multus}}
    spec:
      initContainers:
        - {name: install-multus-binary, image: "example.org/multus:TAG"}
      containers:
        - {name: kube-multus, image: "example.org/multus:TAG", args: [--multus-conf-file=auto]}
      volumes:
        - {name: cni, hostPath: {path: /etc/cni/net.d}}
        - {name: cnibin, hostPath: {path: /opt/cni/bin}}
"""
MULTUS = _MULTUS.replace("TAG", "snapshot")
MULTUS_THICK = _MULTUS.replace("TAG", "snapshot-thick")


MANIFESTS = {
    "kube-flannel": FLANNEL,
    "multus": MULTUS,
    "multus-thick": MULTUS_THICK,
    **dict.fromkeys(("cilium", "cilium-hubble"), yaml.safe_dump_all(paper_cilium())),
}


def paper_bundle(folder: Path) -> Bundle:
    """With its files in `folder`."""
    for name, text in MANIFESTS.items():
        (folder / f"{name}.yml").write_text(text)
    empty = folder / "empty.tar.gz"
    tarfile.open(empty, "w:gz").close()
    artifacts = [
        Artifact(
            each.name,
            each.version,
            "linux/amd64",
            "0" * 64,
            1,
            folder / f"{each.name}.yml" if each.name in MANIFESTS else empty,
            images=tuple(f"{name}:v1" for name in CILIUM) if each.name.startswith("cilium") else (),
        )
        for each in catalogue.load()
    ]
    networks = ("example.org/flannel", "example.org/plugin", "example.org/multus", *CILIUM)
    images = [
        Image(name, tag, f"sha256:{'0' * 64}", b"{}", "", ())
        for name in (PAUSE, COREDNS, AGNHOST, *networks)
        for tag in ("v1", *(("v1-thick",) if name == "example.org/multus" else ()))
    ]
    return Bundle(folder, "digest", (*artifacts, *images))
