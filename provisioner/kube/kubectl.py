"""kubectl on a control-plane host: how every script of ours calls it."""

from __future__ import annotations

KUBECTL = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig --request-timeout=20s"
FIELD_MANAGER = "provision"
