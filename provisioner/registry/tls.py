"""Why a TLS connection to a registry did not come about, in words that mend it."""

from __future__ import annotations

import ssl

from provisioner.errors import ProvisionError

# OpenSSL's X509_V_ERR_* (x509_vfy.h): what is wrong and what mends it.
_UNKNOWN_CA = (
    "is signed by an authority that is not trusted",
    "name the authority's certificate: registry.ca in the cluster's section, --ca FILE on the command line",
)
_CAUSES = {
    2: _UNKNOWN_CA,
    9: ("is not valid yet", "is this machine's clock right? its time and the certificate's have to agree"),
    10: ("has expired", "renew it on the registry; or is this machine's clock wrong?"),
    18: _UNKNOWN_CA,
    19: _UNKNOWN_CA,
    20: _UNKNOWN_CA,
    21: _UNKNOWN_CA,
    62: (
        "is for another name",
        "call the registry by a name that its certificate has, or give it one with this name",
    ),
    64: ("is for another address", "call the registry by a name that its certificate has"),
}


def trust(ca_pem: bytes | None) -> ssl.SSLContext:
    """TLS 1.2 or later, with these authorities only (None: the system's). Raises ProvisionError when they are none."""
    try:
        context = ssl.create_default_context(cadata=ca_pem.decode("ascii") if ca_pem else None)
    except (ssl.SSLError, ValueError) as error:
        raise ProvisionError(
            f"the registry's authority is no certificate in PEM: {error}",
            "it begins with -----BEGIN CERTIFICATE-----",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def failure(authority: str, error: BaseException) -> ProvisionError | None:
    """What a failure of TLS means that trying again will not mend; None when it may."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _distrust(authority, cause)
        if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
            return ProvisionError(
                f"{authority} does not speak TLS", "it speaks plain HTTP, or another service has this port"
            )
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        cause = inner or cause.__cause__
    return None


def _distrust(authority: str, error: ssl.SSLCertVerificationError) -> ProvisionError:
    what, hint = _CAUSES.get(
        error.verify_code,
        ("is not trusted", "is it signed by the authority that is named, and for this name?"),
    )
    return ProvisionError(f"the certificate of the registry {authority} {what}: {error.verify_message}", hint)
