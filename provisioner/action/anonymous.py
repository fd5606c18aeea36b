"""Whether an API server that others have set up tells health to who has no name: load balancers of ours ask so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from provisioner.action.foundcluster import FoundHost, Service, UnusableError

HEALTH = "/readyz"
_FALSE = ("false", "False", "FALSE", "F", "f", "0")
"""As Go's strconv.ParseBool reads flags."""
_ASKED = f"load balancers ask it for {HEALTH} without a name, and would take it for one that is not ready"


def check_anonymous(found: FoundHost, api: Service) -> None:
    """Raises UnusableError where the API server refuses such a question, or where its configuration cannot be read."""
    again = "then restart kube-apiserver"
    if (flag := api.flags.get("anonymous-auth")) in _FALSE:
        raise UnusableError(
            f"{api.conf}: --anonymous-auth={flag}: {_ASKED}",
            f"take it away: RBAC lets who has no name see health and version alone; {again}",
        )
    if _allows_all(api):
        raise UnusableError(
            f"{api.conf}: without an --authorization-mode, or with AlwaysAllow in it, there are no anonymous requests:"
            f" {_ASKED}",
            f"set --authorization-mode=Node,RBAC; {again}",
        )
    path = api.flags.get("authentication-config")
    if path and (why := refused(found.text(path))):
        raise UnusableError(
            f"{path}: {why}: {_ASKED}",
            f"write anonymous: {{enabled: true, conditions: [{{path: {HEALTH}}}]}} there; {again}",
        )


def _allows_all(api: Service) -> bool:
    """Where everything is allowed, the API server itself turns anonymous requests off (kubernetes,
    pkg/kubeapiserver/options/authentication.go, ApplyAuthorization)."""
    modes = api.flags.get("authorization-mode")
    if not modes:
        return not api.flags.get("authorization-config")
    return "AlwaysAllow" in modes.split(",")


def refused(text: str) -> str:
    """Why an AuthenticationConfiguration lets nobody without a name ask; "" where it does, or says nothing of it."""
    anonymous = _mapping(text).get("anonymous")
    if not isinstance(anonymous, dict):
        return ""
    if anonymous.get("enabled") is not True:
        return "anonymous.enabled is not true"
    conditions = anonymous.get("conditions")
    if not isinstance(conditions, list) or not conditions:
        return ""
    paths = [each.get("path") for each in conditions if isinstance(each, dict)]
    return "" if HEALTH in paths else f"anonymous.conditions has no path {HEALTH}"


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that is none
        read = None
    return read if isinstance(read, dict) else {}
