"""Builds a cluster as people do by hand after an article: /opt/etcd, /opt/kubernetes, one control plane, its address
in every kubeconfig. With ssh and tar alone: nothing on its hosts is known to `provision`."""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from by_ssh import ByShell, Files
from handbuilt_keys import Authority, kubeconfig
from imported import CONTAINERD, IMPORT, PAUSE, pack

from provisioner.bundle.layout import Bundle, Image, default_bundle_path

TOKEN = secrets.token_hex(16)


@dataclass(frozen=True)
class HandBuilt:
    """Hosts of a lab in `folder`, by address. `master` is no node. `network` is how pods get addresses: by a bridge on
    each node that knows of no other one, or by flannel, of its own manifest."""

    folder: Path
    master: str
    workers: Mapping[str, str]
    network: str = "bridge"

    def build(self) -> None:
        """Brings it up until all nodes are Ready. Raises AssertionError."""
        etcd, ca = Authority.new("etcd CA"), Authority.new("kubernetes")
        self._shell.send(self.master, {**_etcd(self.master, etcd), **_control_plane(self.master, ca)})
        self._shell.run(self.master, _START % "etcd kube-apiserver kube-controller-manager kube-scheduler")
        self._shell.run(self.master, _ADMIT)
        for number, (name, address) in enumerate(self.workers.items()):
            files = _worker(name, self.master, ca)
            if self.network == "bridge":
                files["/etc/cni/net.d/10-bridge.conflist"] = (_NETWORK.format(number=number).encode(), 0o644)
            self._shell.send(address, files)
            self._shell.run(address, _RUNTIME)
            if self.network == "flannel":
                self._shell.feed(address, IMPORT, lambda stream: pack(_images(), stream))
            self._shell.run(address, _START % "kubelet kube-proxy")
        if self.network == "flannel":
            self._shell.send(self.master, {"/root/kube-flannel.yml": (_artifact("kube-flannel"), 0o644)})
            self._shell.run(self.master, "kubectl apply -f /root/kube-flannel.yml >/dev/null")
        self._shell.run(self.master, _APPROVE % len(self.workers))

    @property
    def _shell(self) -> ByShell:
        return ByShell(self.folder)


_START = """
systemctl daemon-reload
for unit in %s; do systemctl enable --now "$unit" 2>/dev/null; done
"""
_ADMIT = """
end=$(($(date +%s) + 60))
until kubectl get --raw /readyz >/dev/null 2>&1; do [ "$(date +%s)" -lt $end ]; sleep 0.5; done
kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper --user=kubelet-bootstrap
kubectl create clusterrolebinding apiserver-to-kubelet --clusterrole=system:kubelet-api-admin --user=kubernetes
"""
_RUNTIME = """
tar -xf /root/cni-plugins.tgz -C /opt/cni/bin
rm /root/cni-plugins.tgz
systemctl restart containerd
ctr -n k8s.io images import /root/pause.tar >/dev/null
"""
_APPROVE = """
end=$(($(date +%%s) + 90))
until [ "$(kubectl get nodes 2>/dev/null | grep -c ' Ready')" = %d ]; do
  [ "$(date +%%s)" -lt $end ] || { kubectl get nodes,csr >&2; exit 1; }
  kubectl get csr -o name | xargs -r kubectl certificate approve >/dev/null
  sleep 0.5
done
"""


def _etcd(address: str, ca: Authority) -> Files:
    server = ca.issue("etcd", "k8s", [address])
    settings = f"""#[Member]
ETCD_NAME="etcd-1"
ETCD_DATA_DIR="/var/lib/etcd/default.etcd"
ETCD_LISTEN_PEER_URLS="https://{address}:2380"
ETCD_LISTEN_CLIENT_URLS="https://{address}:2379"
#[Clustering]
ETCD_INITIAL_ADVERTISE_PEER_URLS="https://{address}:2380"
ETCD_ADVERTISE_CLIENT_URLS="https://{address}:2379"
ETCD_INITIAL_CLUSTER="etcd-1=https://{address}:2380"
ETCD_INITIAL_CLUSTER_TOKEN="etcd-cluster"
ETCD_INITIAL_CLUSTER_STATE="new"
"""
    ssl = "/opt/etcd/ssl"
    command = (
        f"/opt/etcd/bin/etcd --cert-file={ssl}/server.pem --key-file={ssl}/server-key.pem"
        f" --trusted-ca-file={ssl}/ca.pem --client-cert-auth --peer-cert-file={ssl}/server.pem"
        f" --peer-key-file={ssl}/server-key.pem --peer-trusted-ca-file={ssl}/ca.pem --peer-client-cert-auth"
    )
    return {
        "/opt/etcd/bin/etcd": (_artifact("etcd"), 0o755),
        "/opt/etcd/bin/etcdctl": (_artifact("etcdctl"), 0o755),
        "/opt/etcd/cfg/etcd.conf": (settings.encode(), 0o644),
        f"{ssl}/ca.pem": (ca.pair.cert, 0o644),
        f"{ssl}/ca-key.pem": (ca.pair.key, 0o600),
        f"{ssl}/server.pem": (server.cert, 0o644),
        f"{ssl}/server-key.pem": (server.key, 0o600),
        **_unit("etcd", "Etcd Server", command, "/opt/etcd/cfg/etcd.conf", kind="notify"),
    }


def _control_plane(address: str, ca: Authority) -> Files:
    ssl, cfg = "/opt/kubernetes/ssl", "/opt/kubernetes/cfg"
    sans = [
        address, "10.97.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster", "kubernetes.default.svc.cluster.local",
    ]  # fmt: skip
    server, api = ca.issue("kubernetes", "k8s", sans), f"https://{address}:6443"
    files: Files = {
        "/usr/bin/kubectl": (_artifact("kubectl"), 0o755),
        f"{cfg}/token.csv": (
            f'{TOKEN},kubelet-bootstrap,10001,"system:node-bootstrapper"\n'.encode(),
            0o644,
        ),
        f"{ssl}/ca.pem": (ca.pair.cert, 0o644),
        f"{ssl}/ca-key.pem": (ca.pair.key, 0o600),
        f"{ssl}/server.pem": (server.cert, 0o644),
        f"{ssl}/server-key.pem": (server.key, 0o600),
    }
    for who, user, organization in (
        ("kube-controller-manager", "system:kube-controller-manager", "system:masters"),
        ("kube-scheduler", "system:kube-scheduler", "system:masters"),
        ("admin", "admin", "system:masters"),
    ):
        path = "/root/.kube/config" if who == "admin" else f"{cfg}/{who}.kubeconfig"
        files[path] = (kubeconfig(api, ca.pair.cert, who, ca.issue(user, organization)), 0o600)
    options = {
        "kube-apiserver": _API_SERVER.format(address=address),
        "kube-controller-manager": _CONTROLLERS,
        "kube-scheduler": f"--v=2 \\\n--leader-elect \\\n--kubeconfig={cfg}/kube-scheduler.kubeconfig \\\n"
        "--bind-address=127.0.0.1",
    }
    for name, flags in options.items():
        files |= _service(name, flags)
    return files


def _worker(name: str, master: str, ca: Authority) -> Files:
    cfg, api = "/opt/kubernetes/cfg", f"https://{master}:6443"
    proxy = kubeconfig(api, ca.pair.cert, "kube-proxy", ca.issue("system:kube-proxy", "k8s"))
    bootstrap = kubeconfig(api, ca.pair.cert, "kubelet-bootstrap", token=TOKEN)
    return {
        "/opt/kubernetes/ssl/ca.pem": (ca.pair.cert, 0o644),
        f"{cfg}/bootstrap.kubeconfig": (bootstrap, 0o600),
        f"{cfg}/kube-proxy.kubeconfig": (proxy, 0o600),
        f"{cfg}/kubelet-config.yml": (_KUBELET.encode(), 0o644),
        f"{cfg}/kube-proxy-config.yml": (_PROXY.format(name=name).encode(), 0o644),
        "/etc/containerd/config.toml": (CONTAINERD.encode(), 0o644),
        "/opt/cni/bin/.keep": (b"", 0o644),
        "/root/cni-plugins.tgz": (_artifact("cni-plugins"), 0o644),
        "/root/pause.tar": (_pause(), 0o644),
        **_service("kubelet", _KUBELET_FLAGS.format(name=name)),
        **_service("kube-proxy", f"--v=2 \\\n--config={cfg}/kube-proxy-config.yml"),
    }


def _service(name: str, flags: str) -> Files:
    variable = f"{name.upper().replace('-', '_')}_OPTS"
    binary, conf = f"/opt/kubernetes/bin/{name}", f"/opt/kubernetes/cfg/{name}.conf"
    return {
        binary: (_artifact(name), 0o755),
        conf: (f'{variable}="{flags}"\n'.encode(), 0o644),
        "/opt/kubernetes/logs/.keep": (b"", 0o644),
        **_unit(name, f"Kubernetes {name}", f"{binary} ${variable}", conf),
    }


def _unit(name: str, title: str, command: str, environment: str, kind: str = "simple") -> Files:
    text = f"""[Unit]
Description={title}
After=network.target

[Service]
Type={kind}
EnvironmentFile={environment}
ExecStart={command}
Restart=on-failure
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
    return {f"/usr/lib/systemd/system/{name}.service": (text.encode(), 0o644)}


def _artifact(name: str) -> Path:
    return Bundle.open(default_bundle_path()).artifact(name).path


def _images() -> dict[str, Image]:
    """Flannel's, and what tests run, by name."""
    wanted = ("/flannel", "/flannel-cni-plugin", "/agnhost")
    return {
        each.reference: each
        for each in Bundle.open(default_bundle_path()).images()
        if each.name.endswith(wanted)
    }


def _pause() -> bytes:
    """The bundle's image of that name, as a tar that `ctr images import` takes."""
    bundle, buffer = Bundle.open(default_bundle_path()), io.BytesIO()
    pack({PAUSE: next(each for each in bundle.images() if each.name.endswith("/pause"))}, buffer)
    return buffer.getvalue()


_API_SERVER = """--v=2 \\
--etcd-servers=https://{address}:2379 \\
--bind-address={address} \\
--secure-port=6443 \\
--advertise-address={address} \\
--allow-privileged=true \\
--service-cluster-ip-range=10.97.0.0/24 \\
--enable-admission-plugins=NodeRestriction \\
--authorization-mode=RBAC,Node \\
--enable-bootstrap-token-auth=true \\
--token-auth-file=/opt/kubernetes/cfg/token.csv \\
--service-node-port-range=30000-32767 \\
--kubelet-client-certificate=/opt/kubernetes/ssl/server.pem \\
--kubelet-client-key=/opt/kubernetes/ssl/server-key.pem \\
--tls-cert-file=/opt/kubernetes/ssl/server.pem  \\
--tls-private-key-file=/opt/kubernetes/ssl/server-key.pem \\
--client-ca-file=/opt/kubernetes/ssl/ca.pem \\
--service-account-key-file=/opt/kubernetes/ssl/ca-key.pem \\
--service-account-issuer=api \\
--service-account-signing-key-file=/opt/kubernetes/ssl/ca-key.pem \\
--etcd-cafile=/opt/etcd/ssl/ca.pem \\
--etcd-certfile=/opt/etcd/ssl/server.pem \\
--etcd-keyfile=/opt/etcd/ssl/server-key.pem \\
--requestheader-client-ca-file=/opt/kubernetes/ssl/ca.pem \\
--proxy-client-cert-file=/opt/kubernetes/ssl/server.pem \\
--proxy-client-key-file=/opt/kubernetes/ssl/server-key.pem \\
--requestheader-allowed-names=kubernetes \\
--requestheader-extra-headers-prefix=X-Remote-Extra- \\
--requestheader-group-headers=X-Remote-Group \\
--requestheader-username-headers=X-Remote-User \\
--enable-aggregator-routing=true \\
--audit-log-maxage=30 \\
--audit-log-maxbackup=3 \\
--audit-log-maxsize=100 \\
--audit-log-path=/opt/kubernetes/logs/k8s-audit.log"""
_CONTROLLERS = """--v=2 \\
--leader-elect=true \\
--kubeconfig=/opt/kubernetes/cfg/kube-controller-manager.kubeconfig \\
--bind-address=127.0.0.1 \\
--allocate-node-cidrs=true \\
--cluster-cidr=10.244.0.0/16 \\
--service-cluster-ip-range=10.97.0.0/24 \\
--cluster-signing-cert-file=/opt/kubernetes/ssl/ca.pem \\
--cluster-signing-key-file=/opt/kubernetes/ssl/ca-key.pem  \\
--root-ca-file=/opt/kubernetes/ssl/ca.pem \\
--service-account-private-key-file=/opt/kubernetes/ssl/ca-key.pem \\
--cluster-signing-duration=87600h0m0s"""
_KUBELET_FLAGS = """--v=2 \\
--hostname-override={name} \\
--kubeconfig=/opt/kubernetes/cfg/kubelet.kubeconfig \\
--bootstrap-kubeconfig=/opt/kubernetes/cfg/bootstrap.kubeconfig \\
--config=/opt/kubernetes/cfg/kubelet-config.yml \\
--cert-dir=/opt/kubernetes/ssl"""
_KUBELET = """kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
address: 0.0.0.0
port: 10250
readOnlyPort: 0
cgroupDriver: systemd
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [10.97.0.2]
clusterDomain: cluster.local
failSwapOn: false
failCgroupV1: false
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /opt/kubernetes/ssl/ca.pem}
authorization: {mode: Webhook}
"""
# The conntrack table is the lab machine's.
_PROXY = """kind: KubeProxyConfiguration
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
metricsBindAddress: 127.0.0.1:10249
clientConnection:
  kubeconfig: /opt/kubernetes/cfg/kube-proxy.kubeconfig
hostnameOverride: {name}
clusterCIDR: 10.244.0.0/16
conntrack: {{maxPerCore: 0, min: 0}}
"""
_NETWORK = """{{"cniVersion": "1.0.0", "name": "bridge", "plugins": [{{"type": "bridge", "bridge": "cni0",
 "isGateway": true, "ipMasq": true,
 "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "10.244.{number}.0/24"}}]],
  "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""
