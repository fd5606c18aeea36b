"""Certificate signing requests of joining kubelets: which of them we approve, and why not the others."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
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


def requested_node(item: Mapping[str, Any]) -> str:
    """The node name that the request asks for; "" when it is none."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(item["spec"]["request"]))
    except (ValueError, KeyError):
        return ""
    names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if len(names) == 1 else ""
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
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or ""))
    except ValueError:
        return "it holds no readable request"
    if not request.is_signature_valid:
        return "its signature is wrong"
    organizations = [
        str(each.value) for each in request.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    ]
    if organizations != ["system:nodes"] or len(list(request.subject)) != 2:
        return f"its subject is {request.subject.rfc4514_string()}"
    if any(True for _ in request.extensions):
        return "it asks for extensions (names) of its own"
    node = requested_node(item)
    return "" if node in nodes else f"'{node}' is no host of the inventory that is joining"
