"""A host joins, also under the name of a node that was; meanwhile requests for certificates that are not exactly its
own are left alone."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab_cluster import ADMIN, NODES, LabCluster, is_verified, provision

from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.power import power_off, power_on

CLIENT = ("client auth", "digital signature")


@dataclass(frozen=True)
class Forgery:
    """A request that must not be approved. `sender` are kubectl's words for who sends it; "" is the token."""

    name: str
    group: str = "system:nodes"
    host: str = ""
    usages: Sequence[str] = CLIENT
    sender: str = ""


FORGERIES: Mapping[str, Forgery] = {
    "joined-node": Forgery("system:node:worker1"),
    "stranger": Forgery("system:node:worker9"),
    "no-node": Forgery("kubernetes-admin"),
    "masters": Forgery("system:node:worker2", group="system:masters"),
    "names": Forgery("system:node:worker2", host="kubernetes.default.svc"),
    "server": Forgery("system:node:worker2", usages=(*CLIENT, "server auth")),
    "other-token": Forgery(
        "system:node:worker2",
        sender=f"{ADMIN} --as=system:bootstrap:abcdef --as-group=system:bootstrappers:provision",
    ),
}

AWAIT = """
end=$(($(date +%s) + 60))
until token=$(get secrets | grep -m 1 .); do
  [ "$(date +%s)" -lt "$end" ] || exit 9
  sleep 0.1
done
"""


def request(forgery: Forgery) -> bytes:
    """A PEM request as the forgery has it, signed with a fresh key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, forgery.group),
        x509.NameAttribute(NameOID.COMMON_NAME, forgery.name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if forgery.host:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(forgery.host)]), critical=False
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def manifest(name: str, forgery: Forgery) -> str:
    usages = ", ".join(forgery.usages)
    return f"""apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: forged-{name}, labels: {{forged: "yes"}}}}
spec:
  request: {base64.b64encode(request(forgery)).decode()}
  signerName: kubernetes.io/kube-apiserver-client-kubelet
  usages: [{usages}]
"""


def forging(address: str) -> str:
    """The script: waits for the token, sends every forgery, then lets the real node through."""
    fields = '{.data.token-id} {.data.token-secret}{"\\n"}'
    tokens = "--field-selector=type=bootstrap.kubernetes.io/token"
    server = f"--server=https://{address}:6443 --certificate-authority=/etc/kubernetes/pki/ca.crt"
    lines = [
        f"get() {{ {ADMIN} -n kube-system get $1 {tokens} -o jsonpath='{{range .items[*]}}{fields}{{end}}'; }}",
        AWAIT,
        'id=$(echo "${token% *}" | base64 -d); secret=$(echo "${token#* }" | base64 -d)',
        f'by_token="/opt/kubernetes/bin/kubectl --kubeconfig=/dev/null {server} --token=$id.$secret"',
    ]
    for name, forgery in FORGERIES.items():
        lines.append(f"{forgery.sender or '$by_token'} create -f - <<'END'\n{manifest(name, forgery)}END")
    return "\n".join([*lines, "nft delete table inet held", ""])


def test_only_the_nodes_own_request_is_granted(cluster: LabCluster) -> None:
    """worker2's kubelet loses its identity, not its node object; it is held off until all forgeries are there."""
    address, worker = cluster.address("cp1"), cluster.address("worker2")
    cluster.one("worker2", "systemctl stop kubelet; rm -rf /var/lib/kubelet/pki")
    cluster.one(
        "cp1",
        "nft add table inet held; nft 'add chain inet held in { type filter hook input priority -1; }'; "
        f"nft add rule inet held in ip saddr {worker} tcp dport 6443 reject with tcp reset",
    )
    try:
        with cluster.applying() as joining:
            sent = provision("exec", cluster.inventory, "cp1", "--", f"set -e\n{forging(address)}")
            assert sent.status == 0, sent
            done = joining.finish()
        assert is_verified(done), done
        assert ("cp1", "node_joined:worker2", "create") in done.changed
        requests = {item["metadata"]["name"]: item for item in cluster.objects("csr -l forged")}
        assert set(requests) == {f"forged-{name}" for name in FORGERIES}
        assert {name for name, item in requests.items() if item.get("status")} == set()
        warned = [event["message"] for event in done.named("Note") if event["level"] == "warning"]
        status = provision("status", cluster.inventory, "--json").only("Status")
        for name in requests:
            assert [each for each in warned if f"request {name} was left alone" in each], (name, warned)
            assert [each for each in status["warnings"] if f"request {name} is not approved" in each], name
        assert status["healthy"], status["troubles"]
    finally:
        cluster.one("cp1", "nft delete table inet held 2>/dev/null || :")
        cluster.kubectl("delete csr -l forged")
    assert cluster.ready_nodes() == set(NODES)
    assert "bootstrap.kubernetes.io/token" not in {each["type"] for each in cluster.objects("secrets -A")}
    assert cluster.apply("--stage", "kubelet", "--stage", "join", "--stage", "joined").changed == set()


def test_a_node_that_was_reinstalled_joins_again(cluster: LabCluster) -> None:
    """Another disk under the same name, while the cluster still has the old one's node, pods and certificate."""
    plan = plan_of(load_inventory(cluster.inventory))
    before = {node["metadata"]["name"]: node for node in cluster.objects("nodes")}["worker1"]
    power_off(plan, "worker1")
    for each in plan.host_directory("worker1").iterdir():
        if each.is_dir():
            shutil.rmtree(each)
    power_on(plan, "worker1")
    assert (
        cluster.one("worker1", "ls -d /var/lib/provision /etc/kubernetes 2>/dev/null || echo bare") == "bare"
    )
    done = cluster.apply()
    assert is_verified(done), done
    assert ("cp1", "node_joined:worker1", "create") in done.changed
    assert {host for host, _, _ in done.changed} == {"cp1", "worker1"}
    assert {resource for host, resource, _ in done.changed if host == "cp1"} == {
        "bootstrap_token:kube-system", "bootstrap_token:any", "node_joined:worker1"
    }  # fmt: skip
    after = {node["metadata"]["name"]: node for node in cluster.objects("nodes")}
    assert after["worker1"]["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["worker1"]["status"]["nodeInfo"] != before["status"]["nodeInfo"], "another machine-id"
    assert cluster.ready_nodes() == set(NODES)
    assert cluster.plan().status == 0
