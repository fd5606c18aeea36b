"""Certificates by which Hubble's relay and Cilium's agents know each other: nobody else is to read what pods send.

They are derived from the cluster's own key, not drawn: every controller comes to the same ones, and a Secret that
nothing has changed stays as it is. Names: Cilium 1.16, install/kubernetes/cilium/templates/hubble/tls-helm; both sides
are Go programs that take TLS 1.3 alone (pkg/hubble/server/serveroption), which knows Ed25519 (RFC 8446, 4.2.3).
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

from provisioner.pki.authority import USAGES, key_usage
from provisioner.pki.cluster import ClusterState

SERVER, CLIENT = "hubble-server-certs", "hubble-relay-client-certs"
"""The Secrets that the agents and the relay mount."""
_AUTHORITY = "hubble-ca"
_NAMES = {
    SERVER: ("*.default.hubble-grpc.cilium.io", ("client", "server")),
    CLIENT: ("*.hubble-relay.cilium.io", ("client", "server")),
}
"""`default` is the name that agents have for the cluster."""
_SERIAL_BYTES = 16


def hubble_secrets(state: ClusterState) -> list[dict[str, Any]]:
    """They end with the cluster's CA, which they begin with as well."""
    return [_secret(state, name, *said) for name, said in _NAMES.items()]


def _secret(state: ClusterState, name: str, common_name: str, usages: tuple[str, ...]) -> dict[str, Any]:
    cert, key = _certificate(state, name, common_name, usages)
    authority, _ = _certificate(state, _AUTHORITY, _AUTHORITY, ())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    parts = {"ca.crt": _pem(authority), "tls.crt": _pem(cert), "tls.key": pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "kube-system"},
        "type": "kubernetes.io/tls",
        "data": {file: base64.b64encode(each).decode() for file, each in parts.items()},
    }


def _certificate(
    state: ClusterState, name: str, common_name: str, usages: tuple[str, ...]
) -> tuple[x509.Certificate, Ed25519PrivateKey]:
    """Without `usages` the authority itself, which signs all of them."""
    key, signing = _key(state, name), _key(state, _AUTHORITY)
    span = x509.load_pem_x509_certificate(state.authorities["kubernetes"].cert.encode())
    ca = not usages
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(_AUTHORITY))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(_derived(state, f"serial number of {name}", _SERIAL_BYTES)) | 1)
        .not_valid_before(span.not_valid_before_utc)
        .not_valid_after(span.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(key_usage(ca=ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[each] for each in usages]), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), False)
    return builder.sign(signing, None), key


def _key(state: ClusterState, name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_derived(state, f"key of {name}", 32))


def _derived(state: ClusterState, what: str, length: int) -> bytes:
    """HKDF (RFC 5869): whoever knows what is derived knows neither the key nor anything else that is."""
    derive = HKDF(
        hashes.SHA256(), length, salt=state.uuid.encode(), info=f"provision: Hubble: {what}".encode()
    )
    return derive.derive(state.service_account.key.reveal().encode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
