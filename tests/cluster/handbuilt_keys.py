"""The keys of a cluster built by hand: RSA and long-lived, as the tools of the articles make them."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 3650


@dataclass(frozen=True)
class Pair:
    cert: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    name: x509.Name
    key: rsa.RSAPrivateKey
    pair: Pair

    @classmethod
    def new(cls, name: str) -> Authority:
        key, subject = _key(), _name(name, "k8s")
        builder = _builder(subject, subject, key.public_key(), key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=2), critical=True)
        return cls(subject, key, _pair(builder.sign(key, hashes.SHA256()), key))

    def issue(self, name: str, organization: str, sans: Sequence[str] = ()) -> Pair:
        """For servers and clients alike: the articles have one profile for all."""
        key = _key()
        builder = _builder(_name(name, organization), self.name, key.public_key(), self.key)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_san(each) for each in sans]), critical=False
            )
        return _pair(builder.sign(self.key, hashes.SHA256()), key)


def kubeconfig(server: str, authority: bytes, user: str, pair: Pair | None = None, token: str = "") -> bytes:
    """As `kubectl config set-… --embed-certs=true` writes it."""
    credentials = (
        {"client-certificate-data": _encoded(pair.cert), "client-key-data": _encoded(pair.key)}
        if pair
        else {"token": token}
    )
    data = {
        "apiVersion": "v1",
        "clusters": [
            {
                "cluster": {"certificate-authority-data": _encoded(authority), "server": server},
                "name": "kubernetes",
            }
        ],
        "contexts": [{"context": {"cluster": "kubernetes", "user": user}, "name": "default"}],
        "current-context": "default",
        "kind": "Config",
        "preferences": {},
        "users": [{"name": user, "user": credentials}],
    }
    return yaml.safe_dump(data).encode()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _name(common: str, organization: str) -> x509.Name:
    parts = ((NameOID.COUNTRY_NAME, "CN"), (NameOID.LOCALITY_NAME, "Beijing"))
    words = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in (*parts, *words)])


def _san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, signer: rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(minutes=5))
    builder = builder.not_valid_after(now + dt.timedelta(days=DAYS))
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(own, critical=False)


def _pair(cert: x509.Certificate, key: rsa.RSAPrivateKey) -> Pair:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return Pair(cert.public_bytes(serialization.Encoding.PEM), pem)
