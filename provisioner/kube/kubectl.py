"""kubectl on a control-plane host: how every script of ours calls it."""

from __future__ import annotations

from collections.abc import Iterable

KUBECTL_WAITING = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"
"""For `wait` and `rollout status`, which have a time-out of their own."""
KUBECTL = f"{KUBECTL_WAITING} --request-timeout=20s"
KUBECTL_EXEC = f"env KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false {KUBECTL_WAITING}"
"""For `exec`, over SPDY: over WebSockets kubectl reads before it has made its streams, and throws away what a command
says at once (client-go 0.33, tools/remotecommand/websocket.go: "Unknown stream id 1, discarding message")."""

PROBING = f"""
probing() {{
  [ ! -e "$W/api-dead" ] || {{ echo "the API server does not answer" >&2; return 1; }}
  timeout 15 {KUBECTL_WAITING} --request-timeout=6s "$@" && return 0
  code=$?
  timeout 5 {KUBECTL_WAITING} --request-timeout=3s get --raw /readyz >/dev/null 2>&1 || : >"$W/api-dead"
  return "$code"
}}
"""
"""Defines `probing`, kubectl for probes. Several of them in one script ask an API server that hangs only once: what
cannot be read is Unknown, and the stages that start the server come first all the same."""
FIELD_MANAGER = "provision"


def rows(columns: Iterable[str], word: str = "") -> str:
    """A jsonpath: of each item a line with `word`, where there is one, and the columns, tabs in between."""
    cells = [*([word] if word else []), *(f"{{{each}}}" for each in columns)]
    return "{range .items[*]}" + '{"\\t"}'.join(cells) + '{"\\n"}{end}'
