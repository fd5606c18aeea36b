"""Who is let in: at the API server, at the kubelets, at etcd; asked from outside the hosts with real TLS."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import pytest
from lab_cluster import LabCluster, provision

PKI = "/etc/kubernetes/pki"


def ask(
    address: str,
    port: int,
    path: str,
    *,
    client: Path | None = None,
    ciphers: str = "",
) -> int:
    """The HTTP status for GET `path`; with `ciphers` (OpenSSL's names) over TLS 1.2. Raises ssl.SSLError or
    ConnectionError when the handshake is refused."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who the client is matters here, not who the server is
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    if client is not None:
        context.load_cert_chain(client)
    connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def fetch(cluster: LabCluster, name: str, folder: Path) -> Path:
    """The certificate and the key `name` of the control plane, in one file."""
    path = folder / f"{name.replace('/', '-')}.pem"
    path.touch(mode=0o600)
    path.write_text(cluster.one("cp1", f"cat {PKI}/{name}.crt {PKI}/{name}.key") + "\n")
    return path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 401),
        ("/api", 401),
        ("/apis", 401),
        ("/metrics", 401),
        ("/openapi/v2", 401),
        ("/api/v1/namespaces/kube-public/configmaps/cluster-info", 401),
        ("/livez/../version", 401),
    ],
)
def test_nobody_may_ask_for_health_and_nothing_else(cluster: LabCluster, path: str, status: int) -> None:
    assert ask(cluster.address("cp1"), 6443, path) == status


@pytest.mark.parametrize("host", ["cp1", "worker1", "worker2"])
@pytest.mark.parametrize("path", ["/pods", "/metrics", "/configz", "/logs/"])
def test_a_kubelet_refuses_who_has_no_name(cluster: LabCluster, host: str, path: str) -> None:
    assert ask(cluster.address(host), 10250, path) == 401


def test_a_kubelet_asks_what_a_name_may_do(cluster: LabCluster, tmp_path: Path) -> None:
    worker = cluster.address("worker1")
    assert ask(worker, 10250, "/pods", client=fetch(cluster, "apiserver-kubelet-client", tmp_path)) == 200
    assert ask(worker, 10250, "/pods", client=fetch(cluster, "kube-scheduler", tmp_path)) == 403


@pytest.mark.parametrize("host", ["cp1", "worker1", "worker2"])
def test_what_needs_no_door_has_none(cluster: LabCluster, host: str) -> None:
    """Neither the kubelet's read-only port nor the components' own ports are open to others."""
    for port in (10255, 10249, 10257, 10259, 2381):
        with pytest.raises(ConnectionRefusedError):
            ask(cluster.address(host), port, "/healthz")


@pytest.mark.parametrize(
    ("port", "name"),
    [
        (2379, None),
        (2379, "apiserver-kubelet-client"),
        (2379, "admin"),
        (2380, None),
        (2380, "apiserver-kubelet-client"),
    ],
)
def test_etcd_refuses_who_is_not_its_own(
    cluster: LabCluster, tmp_path: Path, port: int, name: str | None
) -> None:
    client = fetch(cluster, name, tmp_path) if name else None
    # An alert, or just the end: Go may close before what we write has arrived.
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        ask(cluster.address("cp1"), port, "/version", client=client)


def test_etcd_serves_the_api_server(cluster: LabCluster, tmp_path: Path) -> None:
    client = fetch(cluster, "apiserver-etcd-client", tmp_path)
    assert ask(cluster.address("cp1"), 2379, "/version", client=client) == 200


def test_the_authorities_are_three(cluster: LabCluster) -> None:
    script = f"cd {PKI}; sha256sum ca.crt etcd-ca.crt front-proxy-ca.crt etcd/ca.crt | cut -d' ' -f1"
    kubernetes, etcd, proxy, members = cluster.one("cp1", script).split()
    assert len({kubernetes, etcd, proxy}) == 3
    assert etcd == members


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("get node worker1", True),
        ("get secret -n kube-system", False),
        ("label node worker2 x=y", False),
        ("label node worker1 node-restriction.kubernetes.io/x=y", False),
        ("delete node worker2", False),
    ],
)
def test_a_node_may_do_its_own_business(cluster: LabCluster, words: str, allowed: bool) -> None:
    """Reading its own node comes from the Node authorizer; what it may not write, from NodeRestriction."""
    identity = "--as=system:node:worker1 --as-group=system:nodes --as-group=system:authenticated"
    script = f"{words} {identity} >/dev/null 2>/run/refusal && echo yes || cat /run/refusal"
    answer = cluster.kubectl(script)
    assert (answer == "yes") is allowed, answer
    assert allowed or "orbidden" in answer


def test_a_binding_to_anonymous_users_is_named(cluster: LabCluster) -> None:
    """Articles advise it, to get past a kubelet or a dashboard that is refused."""
    cluster.kubectl("create clusterrolebinding article --clusterrole=cluster-admin --user=system:anonymous")
    cluster.kubectl("-n default create rolebinding article --clusterrole=view --group=system:unauthenticated")
    try:
        done = provision("verify", cluster.inventory, "--json")
    finally:
        cluster.kubectl("delete clusterrolebinding article")
        cluster.kubectl("-n default delete rolebinding article")
    assert done.status == 1
    (failed,) = done.named("Failed")
    assert failed["resource"] == "gate:no_anonymous"
    assert "ClusterRoleBinding article gives them ClusterRole cluster-admin" in failed["reason"]
    assert "RoleBinding default/article gives them ClusterRole view" in failed["reason"]
    assert "kubectl delete clusterrolebinding article" in failed["hint"]
    assert provision("verify", cluster.inventory, "--json").status == 0
