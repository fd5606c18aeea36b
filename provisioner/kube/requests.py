"""Certificate signing requests of joining kubelets: which of them we approve, and why not the others."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from provisioner.kube.token import GROUP

SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
_USAGES = {"digital signature", "client auth", "key encipherment"}
"""What the signer permits (kubernetes.io docs, "Certificate Signing Requests"); key encipherment is optional."""


def is_pending(item: Mapping[str, Any]) -> bool:
    """Nobody has approved, denied or failed it."""
    return not (item.get("status") or {}).get("conditions") and not (item.get("status") or {}).get(
        "certificate"
    )


@dataclass(frozen=True)
class _Asked:
    """What a request says of itself. `subject` is as people read it, `parts` how many names it is of."""

    names: tuple[str, ...]
    organizations: tuple[str, ...]
    subject: str
    parts: int
    extended: bool
    signed: bool


def _read(spec: Mapping[str, Any]) -> _Asked | None:
    """All that is looked at, parsed in one place; None when any of it cannot be.

    The text comes from whoever holds a token, and cryptography parses late: each property may raise, not only
    ValueError (a general name that it does not support).
    """
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        subject = request.subject
        common, organization = (
            tuple(str(each.value) for each in subject.get_attributes_for_oid(oid))
            for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME)
        )
        extended = any(True for _ in request.extensions)
        text, parts = subject.rfc4514_string(), len(list(subject))
        return _Asked(common, organization, text, parts, extended, request.is_signature_valid)
    except Exception:
        return None


def requested_node(item: Mapping[str, Any]) -> str:
    """The node name that the request asks for; "" when it is none."""
    return _node(_read(item.get("spec") or {}))


def _node(asked: _Asked | None) -> str:
    name = asked.names[0] if asked is not None and len(asked.names) == 1 else ""
    return name.removeprefix("system:node:") if name.startswith("system:node:") else ""


def waiting(items: Sequence[Mapping[str, Any]], nodes: Collection[str]) -> list[str]:
    """What is to be said of each request that nobody has approved, outside of a run: of a run that is just letting a
    node join there may be some for a moment."""
    return [
        f"the certificate request {item['metadata']['name']} is not approved: {_standing(item, nodes)}"
        for item in items
        if is_pending(item)
    ]


def _standing(item: Mapping[str, Any], nodes: Collection[str]) -> str:
    """Any run's token counts as the right one, because which tokens there were nobody knows any more."""
    user = str((item.get("spec") or {}).get("username") or "")
    token = user if user.startswith("system:bootstrap:") else "a run's token"
    return objection(item, nodes, token, GROUP) or f"{user} asks for {requested_node(item)}, in no run of now"


def objection(item: Mapping[str, Any], nodes: Collection[str], user: str, group: str) -> str:
    """Why the request must not be approved; "" when it is exactly what a kubelet of `nodes` sends with our token."""
    spec = item.get("spec") or {}
    if spec.get("signerName") != SIGNER:
        return f"its signer is {spec.get('signerName')}"
    if spec.get("username") != user or group not in (spec.get("groups") or ()):
        return f"it comes from {spec.get('username')}, not from this run's token"
    usages = set(spec.get("usages") or ())
    if not {"client auth", "digital signature"} <= usages or not usages <= _USAGES:
        return f"its usages are {', '.join(sorted(usages))}"
    asked = _read(spec)
    if asked is None:
        return "it holds no readable request"
    if not asked.signed:
        return "its signature is wrong"
    if asked.organizations != ("system:nodes",) or asked.parts != 2:
        return f"its subject is {asked.subject}"
    if asked.extended:
        return "it asks for extensions (names) of its own"
    node = _node(asked)
    return "" if node in nodes else f"'{node}' is no host of the inventory that is joining"
