"""A bundle on paper: all that the catalogue names, as empty archives; flannel's and Cilium's manifests, because
variables read them."""

from __future__ import annotations

import tarfile
from pathlib import Path

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
          securityContext: {privileged: false}
"""


def paper_bundle(folder: Path) -> Bundle:
    """With its files in `folder`."""
    manifest = folder / "kube-flannel.yml"
    manifest.write_text(FLANNEL)
    cilium = folder / "cilium.yaml"
    cilium.write_text(yaml.safe_dump_all(paper_cilium()))
    empty = folder / "empty.tar.gz"
    tarfile.open(empty, "w:gz").close()
    artifacts = [
        Artifact(
            each.name,
            each.version,
            "linux/amd64",
            "0" * 64,
            1,
            {"kube-flannel": manifest, "cilium": cilium, "cilium-hubble": cilium}.get(each.name, empty),
            images=tuple(f"{name}:v1" for name in CILIUM) if each.name.startswith("cilium") else (),
        )
        for each in catalogue.load()
    ]
    images = [
        Image(name, "v1", f"sha256:{'0' * 64}", b"{}", "", ())
        for name in (PAUSE, COREDNS, AGNHOST, "example.org/flannel", "example.org/plugin", *CILIUM)
    ]
    return Bundle(folder, "digest", (*artifacts, *images))
