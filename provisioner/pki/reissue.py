"""A certificate that somebody else has made, signed again by its own authority, for more names."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from provisioner.pki.authority import LEAF_DAYS, KeyPair

_SKEW = dt.timedelta(minutes=10)
_OWN = (x509.SubjectAlternativeName, x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
"""Extensions that are made anew; all others are kept as they are."""


def names_of(pem: str) -> tuple[str, ...]:
    """The DNS names and addresses of a certificate. Raises ValueError when it is none."""
    cert = x509.load_pem_x509_certificate(pem.encode())
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in names)


def lacking(pem: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Those of `wanted` for which the certificate does not serve. Raises ValueError when it is none."""
    has = set(names_of(pem))
    return tuple(dict.fromkeys(each for each in map(_canonical, wanted) if each not in has))


def reissued(authority: KeyPair, pem: str, more: Sequence[str]) -> str:
    """The certificate `pem` with the names `more` beside those that it has: the same key, subject, usages and end, or a
    year from now where that is later, but not beyond its authority's. Raises ValueError when one is no certificate."""
    old = x509.load_pem_x509_certificate(pem.encode())
    ca = x509.load_pem_x509_certificate(authority.cert.encode())
    key = serialization.load_pem_private_key(authority.key.reveal().encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the authority's key is neither an elliptic-curve key nor RSA")
    now = dt.datetime.now(dt.UTC)
    ends = min(max(old.not_valid_after_utc, now + dt.timedelta(days=LEAF_DAYS)), ca.not_valid_after_utc)
    builder = x509.CertificateBuilder(subject_name=old.subject, issuer_name=ca.subject)
    builder = builder.public_key(old.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _SKEW).not_valid_after(ends)
    for extension in old.extensions:
        if not isinstance(extension.value, _OWN):
            builder = builder.add_extension(extension.value, extension.critical)
    identifier = x509.SubjectKeyIdentifier.from_public_key(old.public_key())
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(_authority_identifier(ca), critical=False)
    names = _general_names(old) + [_name(each) for each in lacking(pem, more)]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def same_key(cert: str, key: str) -> bool:
    """Whether the private `key` belongs to the certificate, both PEM. Raises ValueError when they are none."""
    public = serialization.load_pem_private_key(key.encode(), None).public_key()
    return _bytes(public) == _bytes(x509.load_pem_x509_certificate(cert.encode()).public_key())


def signed_by(pem: str, authority: str) -> bool:
    """Whether the certificate `authority` (PEM) has signed `pem`. Raises ValueError when either is no certificate."""
    ca = x509.load_pem_x509_certificate(authority.encode())
    try:
        x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(ca)
    except Exception:  # of several sorts: another issuer, another signature, an algorithm that is not known
        return False
    return True


def name_of(pem: str) -> str:
    """The whole subject of a certificate (RFC 4514). Raises ValueError when it is none."""
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


def issuer_of(pem: str) -> str:
    """The name of who has signed it, as it says itself (RFC 4514). Raises ValueError when it is no certificate."""
    return x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string()


def subject_of(pem: str) -> tuple[str, tuple[str, ...]]:
    """The common name and the organizations: what the API server takes for user and groups."""
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    common = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    organizations = subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(common[0].value) if common else "", tuple(str(each.value) for each in organizations)


def public_pem(key: str) -> str:
    """The public half of a private key. Raises ValueError when it is none."""
    return _bytes(serialization.load_pem_private_key(key.encode(), None).public_key()).decode()


def _bytes(public: object) -> bytes:
    if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("a key is neither an elliptic-curve key nor RSA")
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _general_names(cert: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        digest = x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest
        return x509.AuthorityKeyIdentifier(digest, None, None)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
