"""When certificate files end, read from hosts."""

from __future__ import annotations

from cryptography import x509

from provisioner.engine.health import Expiry

FILES = (
    "/etc/kubernetes/pki/*.crt",
    "/etc/kubernetes/pki/*/*.crt",
    "/etc/docker/registry/pki/*.crt",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
)
"""Patterns of all certificates that the shipped playbooks make, and the one that kubelets renew by themselves."""

# Of a file with a key in it only the certificate is read.
READ_CERTIFICATES = f"""
for f in {" ".join(FILES)}; do
  [ ! -f "$f" ] || {{ echo "%$f"; sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$f"; }}
done
"""


def parse_expiries(text: str) -> tuple[Expiry, ...]:
    """Certificates in the order of their files; the first of each file counts. What is no certificate is left out."""
    found = []
    for block in ("\n" + text).split("\n%")[1:]:
        path, _, pem = block.partition("\n")
        try:
            cert = x509.load_pem_x509_certificate(pem.encode())
        except ValueError:
            continue
        found.append(Expiry(path, cert.subject.rfc4514_string(), cert.not_valid_after_utc))
    return tuple(found)
