"""Certificate authorities and what they sign. Keys made here are elliptic-curve ones (P-256), and live in memory only;
an authority that was made elsewhere may have an RSA key."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioner.inventory.secrets import Secret

CA_DAYS = 3650
LEAF_DAYS = 365
_SKEW = dt.timedelta(minutes=10)
"""How far a host's clock may be behind without refusing a fresh certificate."""

USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class KeyPair:
    """PEM text of a certificate (or a bare public key), and the PEM of its private key."""

    cert: str
    key: Secret


@dataclass(frozen=True)
class Leaf:
    """What a certificate says. `sans` are DNS names and IP addresses as text; `usages` of server, client."""

    common_name: str
    organizations: tuple[str, ...] = ()
    sans: tuple[str, ...] = ()
    usages: tuple[str, ...] = ("client",)
    days: float = LEAF_DAYS


def new_key_pem() -> tuple[ec.EllipticCurvePrivateKey, Secret]:
    """A fresh P-256 key and its PKCS #8 PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key, Secret.text(pem.decode())


def new_authority(common_name: str) -> KeyPair:
    """A self-signed CA that may sign leaves only (path length 0)."""
    key, pem = new_key_pem()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = _builder(name, name, key.public_key(), key.public_key(), CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage(ca=True), critical=True)
    return KeyPair(_pem(builder.sign(key, hashes.SHA256())), pem)


def new_signing_pair() -> KeyPair:
    """A key pair without a certificate, for service-account tokens (ES256)."""
    key, pem = new_key_pem()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(public.decode(), pem)


def issue(authority: KeyPair, leaf: Leaf) -> KeyPair:
    """A new key and a certificate for it, signed by `authority`."""
    ca = x509.load_pem_x509_certificate(authority.cert.encode())
    ca_key = serialization.load_pem_private_key(authority.key.reveal().encode(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("the authority's key is neither an elliptic-curve key nor RSA")
    key, pem = new_key_pem()
    builder = _builder(_subject(leaf), ca.subject, key.public_key(), ca_key.public_key(), leaf.days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(ca=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([USAGES[each] for each in leaf.usages]), critical=False
    )
    if leaf.sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(leaf.sans)), critical=False)
    return KeyPair(_pem(builder.sign(ca_key, hashes.SHA256())), pem)


def key_identifier(certificate: x509.Certificate) -> str:
    """Hex of the SHA-1 key identifier of the certificate's own key (RFC 5280, 4.2.1.2)."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest.hex()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    ca_public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    days: float,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _SKEW).not_valid_after(now + dt.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_public)
    return builder.add_extension(authority, critical=False)


def _subject(leaf: Leaf) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in leaf.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)])


def _names(sans: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for each in sans:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each)))
        except ValueError:
            names.append(x509.DNSName(each))
    return names


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Of an authority, or of what it signs."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
