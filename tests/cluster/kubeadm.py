"""Builds a cluster as people do after kubeadm's own documentation: packages' files, `kubeadm init`, `kubeadm join`,
flannel's manifest. Its hosts have no registry, so all images are there before. Nothing on them is known to
`provision`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from by_ssh import ByShell, Files
from imported import CONTAINERD, IMPORT, around, pack
from kubeadm_program import image_names, kubeadm
from lab_cluster import BESIDE, LabCluster, own_lab

from provisioner.bundle.layout import Bundle, Image, default_bundle_path

SOURCE = Path(__file__).with_suffix(".yaml")
ADMIN = "kubectl --kubeconfig=/etc/kubernetes/admin.conf"
_FROM_BUNDLE = ("pause", "coredns")
_ON_EVERY_NODE = ("pause", "coredns", "kube-proxy")
_ADDED = ("/flannel", "/flannel-cni-plugin", "/agnhost")
"""What runs beside kubeadm's own images; agnhost is for the tests."""


@contextmanager
def kubeadm_lab(subnet: str = BESIDE) -> Iterator[LabCluster]:
    """A lab of its own with the cluster that its inventory, kubeadm.yaml, tells of."""
    with own_lab(f"kubeadm-{subnet.partition('/')[0].replace('.', '-')}", SOURCE, subnet) as lab:
        if not lab.one("cp1", "ls /root/built 2>/dev/null || :"):
            Kubeadm.of(lab).build()
        yield replace(lab, admin=ADMIN)


@dataclass(frozen=True)
class Kubeadm:
    """Hosts of a lab in `folder`, by address; `spec` is the cluster's section of the inventory."""

    folder: Path
    master: str
    workers: tuple[str, ...]
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, lab: LabCluster) -> Kubeadm:
        site = yaml.safe_load(lab.inventory.read_text())["all"]
        planes, nodes = (
            tuple(host["ansible_host"] for host in site["children"][group]["hosts"].values())
            for group in ("kube_control_plane", "kube_node")
        )
        (master,) = planes
        return cls(lab.folder, master, nodes, site["vars"]["cluster"])

    def build(self) -> None:
        """Brings it up until all nodes are Ready and names are answered. Raises AssertionError."""
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
            images = self._images(Path(name))
            some = {each: image for each, image in images.items() if _is_for_every_node(each)}
            ready = [pool.submit(self._prepare, address, some) for address in self.workers]
            self._prepare(self.master, images)
            self._shell.send(self.master, self._settings())
            join = self._shell.run(self.master, _INIT)
            for each in ready:
                each.result()
            list(pool.map(lambda address: self._shell.run(address, join), self.workers))
        self._shell.run(self.master, _AWAIT.format(nodes=len(self.workers) + 1))

    @cached_property
    def _bundle(self) -> Bundle:
        return Bundle.open(default_bundle_path())

    @property
    def _shell(self) -> ByShell:
        return ByShell(self.folder)

    def _prepare(self, address: str, images: Mapping[str, Image]) -> None:
        self._shell.send(address, self._files())
        self._shell.run(address, _PREPARE)
        self._shell.feed(address, IMPORT, lambda stream: pack(images, stream))

    def _files(self) -> Files:
        """What the packages bring, and what their documentation asks for beside them."""
        binaries: Files = {
            f"/usr/bin/{name}": (self._bundle.artifact(name).path, 0o755) for name in ("kubelet", "kubectl")
        }
        return {
            **binaries,
            "/usr/bin/kubeadm": (kubeadm(), 0o755),
            "/usr/lib/systemd/system/kubelet.service": (_UNIT.encode(), 0o644),
            "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": (_DROP_IN.encode(), 0o644),
            "/etc/containerd/config.toml": (CONTAINERD.encode(), 0o644),
            "/etc/modules-load.d/k8s.conf": (b"overlay\nbr_netfilter\n", 0o644),
            "/etc/sysctl.d/k8s.conf": (_SYSCTL.encode(), 0o644),
            "/root/cni-plugins.tgz": (self._bundle.artifact("cni-plugins").path, 0o644),
        }

    def _settings(self) -> Files:
        (pods,), (services,) = (self.spec["network"][name] for name in ("pod_cidrs", "service_cidrs"))
        text = _CLUSTER.format(address=self.master, version=self._version, pods=pods, services=services)
        return {
            "/root/kubeadm.yaml": (text.encode(), 0o600),
            "/root/kube-flannel.yml": (self._bundle.artifact("kube-flannel").path, 0o644),
        }

    @property
    def _version(self) -> str:
        return f"v{self.spec['kubernetes']['version']}"

    def _images(self, folder: Path) -> dict[str, Image]:
        """All that kubeadm asks for, by the name by which it does, and what is added. Of the bundle's images flannel's
        has the iptables that kube-proxy needs."""
        found = {each.name.rpartition("/")[2]: each for each in self._bundle.images()}
        images = {each.reference: each for each in self._bundle.images() if each.name.endswith(_ADDED)}
        for reference in image_names(kubeadm(), self._version):
            name = _short(reference)
            if name in _FROM_BUNDLE:
                images[reference] = found[name]
            else:
                base = found["flannel"] if name == "kube-proxy" else None
                images[reference] = around(self._bundle.artifact(name), folder, base)
        return images


def _short(reference: str) -> str:
    return reference.rpartition("/")[2].partition(":")[0]


def _is_for_every_node(reference: str) -> bool:
    return _short(reference) in _ON_EVERY_NODE or reference.partition(":")[0].endswith(_ADDED)


_PREPARE = """
modprobe -a overlay br_netfilter
sysctl -q -p /etc/sysctl.d/k8s.conf
mkdir -p /etc/kubernetes/manifests /opt/cni/bin
tar -xf /root/cni-plugins.tgz -C /opt/cni/bin
rm /root/cni-plugins.tgz
systemctl daemon-reload
systemctl restart containerd
systemctl enable -q --now kubelet
"""
_INIT = """
kubeadm init --config /root/kubeadm.yaml >/root/kubeadm.log 2>&1 || { tail -n 30 /root/kubeadm.log >&2; exit 1; }
mkdir -p /root/.kube
cp /etc/kubernetes/admin.conf /root/.kube/config
kubectl apply -f /root/kube-flannel.yml >&2
kubeadm token create --print-join-command
"""
_AWAIT = """
end=$(($(date +%s) + 120))
until [ "$(kubectl get nodes --no-headers | grep -c ' Ready ')" = {nodes} ]; do
  [ "$(date +%s)" -lt $end ] || {{ kubectl get nodes,pods -A -o wide >&2; exit 1; }}
  sleep 0.5
done
kubectl -n kube-flannel rollout status daemonset/kube-flannel-ds --timeout=60s
kubectl -n kube-system rollout status daemonset/kube-proxy deployment/coredns --timeout=60s ||
  {{ kubectl get pods -A -o wide >&2; exit 1; }}
: >/root/built
"""
# The conntrack table is the lab machine's.
_CLUSTER = """apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {address}}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
networking: {{podSubnet: {pods}, serviceSubnet: {services}}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failSwapOn: false
failCgroupV1: false
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
conntrack: {{maxPerCore: 0, min: 0}}
"""
_SYSCTL = """net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.ipv4.ip_forward = 1
"""
_UNIT = """[Unit]
Description=The kubelet
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""
# kubeadm reads and writes what is named here.
_DROP_IN = """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=\\
--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
