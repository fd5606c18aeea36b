"""Checks that stand between stages: the API answers, all nodes are Ready."""

from __future__ import annotations

import time
from collections.abc import Sequence

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.resources.model import Answer, Runner
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

API_SECONDS = 90
NODE_SECONDS = 150

_READY_NODES = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
_CONDITIONS = r'{range .items[*]}{.metadata.name}: {.status.conditions[-1].message}{"\n"}{end}'

_READY = f"""
end=$(($(date +%s) + {API_SECONDS}))
until {KUBECTL} get --raw /readyz >"$W/out" 2>"$W/err"; do
  if [ "$(date +%s)" -ge "$end" ]; then
    tail -n 3 "$W/out" "$W/err" >&2
    journalctl --no-pager --quiet -n 8 -o cat -u kube-apiserver >&2 || :
    exit 1
  fi
  sleep 0.2
done
"""


def api_ready(runners: Sequence[Runner]) -> str:
    """Every control plane's own API server says /readyz. Raises ProvisionError with the last lines of its journal."""
    began = time.monotonic()
    for runner in runners:
        result = runner.run(Script(_READY), deadline=API_SECONDS + 30)
        if result.status != 0:
            raise ProvisionError(
                f"the API server on {runner.host} was not ready after {API_SECONDS} s:\n{_tail(result)}",
                f"see `journalctl -u kube-apiserver` on {runner.host}",
            )
    return (
        f"{len(runners)} API server{'s' if len(runners) > 1 else ''} after {time.monotonic() - began:.1f} s"
    )


def network_ready(runner: Runner, nodes: Sequence[str], daemon_sets: Sequence[str]) -> str:
    """All `nodes` have the condition Ready and the plug-in's pods run everywhere: a node is Ready as soon as a CNI
    configuration lies there, which is before the plug-in can serve a pod.

    `daemon_sets` as object keys ("DaemonSet kube-flannel/kube-flannel-ds"). Raises ProvisionError with what is said.
    """
    names = words(f"node/{name}" for name in nodes)
    rollouts = "\n".join(_rollout(key) for key in daemon_sets)
    script = f"""
tell() {{
  {KUBECTL} get nodes -o jsonpath='{_CONDITIONS}' >&2
  {KUBECTL} get pods -A --field-selector=status.phase!=Running -o wide >&2
  exit 1
}}
# A wait looks at one node after the other, 0.1 s each; mostly all are Ready.
ready=$({KUBECTL} get {names} -o jsonpath='{_READY_NODES}')
for each in $ready; do [ "$each" = True ] || waiting=yes; done
if [ -n "${{waiting-}}" ] || [ -z "$ready" ]; then
  {KUBECTL_WAITING} wait --for=condition=Ready --timeout={NODE_SECONDS}s {names} >/dev/null || tell
fi
{rollouts}
"""
    result = runner.run(Script(script), deadline=2 * NODE_SECONDS + 60)
    if result.status != 0:
        raise ProvisionError(
            f"the nodes or their pod network were not ready after {NODE_SECONDS} s:\n{_tail(result)}",
            "see `journalctl -u kubelet` on the host that is not",
        )
    return f"{len(nodes)} nodes"


def _rollout(key: str) -> str:
    namespace, _, name = key.partition(" ")[2].partition("/")
    return (
        f"{KUBECTL_WAITING} -n {quote(namespace)} rollout status --timeout={NODE_SECONDS}s"
        f" daemonset/{quote(name)} >/dev/null || tell"
    )


def _tail(result: Answer) -> str:
    return "\n".join(result.stderr.decode(errors="replace").strip().splitlines()[-12:])
