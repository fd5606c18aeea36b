"""Whether a kubelet still has a valid identity, judged from the public part of its client certificate."""

from __future__ import annotations

import datetime as dt

from cryptography import x509

from provisioner.pki.authority import key_identifier


def kubelet_identity_valid(certificate: str, node: str, authority: str) -> bool:
    """`certificate` and `authority` (the cluster's CA) are PEM; an empty certificate is no identity."""
    if not certificate.strip():
        return False
    try:
        cert = x509.load_pem_x509_certificate(certificate.encode())
        issuer = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (ValueError, x509.ExtensionNotFound):
        return False
    ca = x509.load_pem_x509_certificate(authority.encode())
    names = [str(each.value) for each in cert.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return (
        names == [f"system:node:{node}"]
        and issuer is not None
        and issuer.hex() == key_identifier(ca)
        and cert.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    )
