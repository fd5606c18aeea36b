"""Labels and taints of nodes in Kubernetes' syntax (apimachinery: IsQualifiedName, IsValidLabelValue)."""

from __future__ import annotations

import re
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for
from provisioner.spec.model import Taint
from provisioner.spec.values import RefusedError, dns_name

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
KUBELETS = frozenset(
    f"{prefix}kubernetes.io/{name}"
    for prefix, name in (("", "hostname"), ("", "os"), ("", "arch"), ("beta.", "os"), ("beta.", "arch"))
)
"""Labels that are set back whenever they differ from what the node is: by its kubelet when it starts (kubernetes,
pkg/kubelet/kubelet_node_status.go, updateDefaultLabels), the beta ones by the controller manager as well
(pkg/controller/nodelifecycle, reconcileNodeLabels)."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def label_key(text: str) -> None:
    prefix, slash, name = text.rpartition("/")
    if slash:
        try:
            dns_name(prefix)
        except RefusedError:
            raise RefusedError(
                f"{said(text)}: the prefix is not a DNS name", "such as example.com/name"
            ) from None
    if not _NAME.fullmatch(name):
        raise RefusedError(
            f"{said(text)} is not a label's name", "letters, digits, '-', '_' and '.', at most 63"
        )


def node_label_key(text: str) -> None:
    """A label's key that is the inventory's to set."""
    label_key(text)
    if text in KUBELETS:
        raise RefusedError(
            "the kubelet sets this label, and sets it back when it is changed",
            f"leave it out, or choose a key of your own, such as example.com/{text.rpartition('/')[2]}",
        )


def label_value(text: str) -> None:
    if text and not _NAME.fullmatch(text):
        raise RefusedError(
            f"{said(text)} is not a label's value", "letters, digits, '-', '_' and '.', at most 63"
        )


def taint(value: Any) -> Taint:
    """From `key=value:Effect`, `key:Effect` or a mapping of key, value and effect."""
    key, content, effect = _split(value) if isinstance(value, str) else _from_mapping(value)
    label_key(key)
    label_value(content)
    if effect not in EFFECTS:
        raise RefusedError(f"{said(effect)} is not a taint's effect", hint_for(effect, EFFECTS))
    return Taint(key, content, effect)


def _split(text: str) -> tuple[str, str, str]:
    head, colon, effect = text.rpartition(":")
    if not colon:
        raise RefusedError(f"the taint {said(text)} has no effect", "write it as key=value:NoSchedule")
    key, _, content = head.partition("=")
    return key, content, effect


def _from_mapping(value: dict[Any, Any]) -> tuple[str, str, str]:
    known = ("key", "value", "effect")
    for name, part in value.items():
        if name not in known:
            raise RefusedError(f"a taint has no {said(name)}", hint_for(name, known))
        if not isinstance(part, str):
            hint = "" if isinstance(part, dict | list) else "quote it"
            raise RefusedError(f"'{name}' of a taint must be a text", hint)
    if "key" not in value or "effect" not in value:
        raise RefusedError("a taint needs 'key' and 'effect'", "for instance {key: gpu, effect: NoSchedule}")
    return value["key"], value.get("value", ""), value["effect"]
