"""kubectl on a control-plane host: how every script of ours calls it."""

from __future__ import annotations

KUBECTL_WAITING = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"
"""For `wait` and `rollout status`, which have a time-out of their own."""
KUBECTL = f"{KUBECTL_WAITING} --request-timeout=20s"
FIELD_MANAGER = "provision"
