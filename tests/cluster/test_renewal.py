"""Identities that end: a kubelet's own is renewed by itself, and what is ours beside it goes on."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lab_cluster import LabCluster, served, until

from provisioner.inventory.secrets import Secret
from provisioner.pki.authority import KeyPair
from provisioner.pki.cluster import STATE_FILE, parse_state

CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
SERVING = "/etc/kubernetes/pki/kubelet.crt"


def nearly_over(authority: KeyPair, node: str) -> str:
    """A kubelet's client certificate and key, PEM, in the last twelve minutes of its day."""
    ca = x509.load_pem_x509_certificate(authority.cert.encode())
    signer = serialization.load_pem_private_key(authority.key.reveal().encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
    ]
    end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=12)
    builder = x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(ca.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(end - dt.timedelta(days=1)).not_valid_after(end)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(issuer, critical=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    cert = builder.add_extension(usage, critical=False).sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (cert.public_bytes(serialization.Encoding.PEM) + private).decode()


def test_a_kubelet_renews_itself_and_goes_on_to_serve(cluster: LabCluster) -> None:
    """On the day on which a client certificate is to be renewed the kubelet gets itself a new one, of a year, without
    any run; and it goes on to answer to logs and exec, with the serving certificate that is ours.

    The day comes by an identity that is in its last minutes, not by the clock, which lab hosts share with the machine:
    that takes seconds. test_clock.py (soak) has a kubelet whose clock is ahead by months, and the serving certificate
    in its own last days, which a run renews.
    """
    state = parse_state(Secret.text(cluster.one("cp1", f"cat {STATE_FILE}")), "cp1")
    before = served(cluster, "worker1")
    assert before
    pem = nearly_over(state.authorities["kubernetes"], "worker1")
    serving = cluster.one("worker1", f"sha256sum {SERVING}; stat -c %Y {SERVING}")
    old = "/var/lib/kubelet/pki/kubelet-client-2020-01-01-00-00-00.pem"
    cluster.one(
        "worker1",
        f"umask 077; cat >{old} <<'END'\n{pem}END\nln -sfn {old} {CURRENT}; systemctl restart kubelet",
    )
    until(lambda: old not in cluster.one("worker1", f"readlink {CURRENT}"), "it has renewed itself")
    # A kubelet that was just started has to learn of its pods first.
    until(lambda: served(cluster, "worker1") == before, "logs and exec work")
    cert = x509.load_pem_x509_certificate(
        cluster.one("worker1", f"sed -n '/BEGIN C/,/END C/p' {CURRENT}").encode()
    )
    assert cert.subject.rfc4514_string() == "CN=system:node:worker1,O=system:nodes"
    left = cert.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=300) < left < dt.timedelta(days=366)
    asked = [item for item in cluster.objects("csr") if item["spec"]["username"] == "system:node:worker1"]
    assert {item["status"]["conditions"][0]["reason"] for item in asked} == {"AutoApproved"}
    assert {item["spec"]["signerName"] for item in asked} == {"kubernetes.io/kube-apiserver-client-kubelet"}
    assert cluster.one("worker1", f"sha256sum {SERVING}; stat -c %Y {SERVING}") == serving
    done = cluster.plan()
    assert (done.status, done.only("Plan")["changes"]) == (0, [])
    cluster.one("worker1", f"rm -f {old}")
