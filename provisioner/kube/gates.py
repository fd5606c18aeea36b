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
ENDPOINT_SECONDS = 30

_NODES, _PODS, _GONE, _UNMADE = 3, 4, 5, 6
"""How the script of `network_ready` ends when nodes or pods were not ready in time, or when there is nothing to wait
for: kubectl ends at once then, unless an operator is to make it."""

_UNREADY = {
    _NODES: ("the nodes were not Ready", "see `journalctl -u kubelet` on the host that is not"),
    _PODS: (
        "the network plug-in's pods did not run on all nodes",
        "see `journalctl -u kubelet -u containerd` on the node whose pod does not",
    ),
    _UNMADE: (
        "the operator did not make the network plug-in",
        "see `kubectl get tigerastatuses` and `kubectl -n tigera-operator logs deployment/tigera-operator`",
    ),
    _GONE: (
        "the network plug-in was gone",
        "`provision apply INVENTORY --stage network` makes it again, once it has gone; what deletes it?",
    ),
}
"""What to say of it, and what mends it."""
_ANY = ("the nodes or their pod network were not ready", _UNREADY[_NODES][1])

_ROLLED = f"""
tell() {{
  {KUBECTL} get nodes -o jsonpath='{_CONDITIONS}' >&2
  {KUBECTL} get pods -A --field-selector=status.phase!=Running -o wide >&2
}}
gone() {{ echo "the DaemonSet $1" >&2; exit {_GONE}; }}
rolled() {{
  # Of nodes that have just joined the controller may not know yet: without them all is well.
  end=$(($(date +%s) + {NODE_SECONDS}))
  while {KUBECTL_WAITING} -n "$1" rollout status --timeout={NODE_SECONDS}s "daemonset/$2" >/dev/null 2>"$W/said"; do
    ready=$({KUBECTL} -n "$1" get daemonset "$2" --ignore-not-found -o 'jsonpath={{.status.numberReady}}')
    [ "${{ready:-0}}" -lt "$3" ] || return 0
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.3
  done
  if there=$({KUBECTL} -n "$1" get daemonset "$2" --ignore-not-found \
    -o jsonpath='there{{.metadata.deletionTimestamp}}'); then
    case $there in
    '') gone "$1/$2 is missing" ;;
    there?*) gone "$1/$2 is being deleted" ;;
    esac
    ! grep -q 'object has been deleted' "$W/said" || gone "$1/$2 was deleted and made anew meanwhile"
  fi
  tell
  cat "$W/said" >&2
  exit {_PODS}
}}
"""
"""`rolled NAMESPACE NAME COUNT` waits for the pods of a DaemonSet, of which there are so many at least."""


_MADE = f"""
made() {{
  end=$(($(date +%s) + {NODE_SECONDS}))
  until {KUBECTL} -n "$1" get daemonset "$2" >/dev/null 2>"$W/said"; do
    if [ "$(date +%s)" -ge "$end" ]; then
      {KUBECTL} get tigerastatuses >&2 || :
      tail -n 1 "$W/said" >&2
      exit {_UNMADE}
    fi
    sleep 0.5
  done
}}
"""
"""`made NAMESPACE NAME` waits for a DaemonSet that an operator is to make."""


def _until_ready(seconds: int, *, server: str = "", on_failure: str = ":") -> Script:
    """Asks the host's own API server, or `server`, until it says /readyz; what it said last goes to stderr."""
    kubectl = f"{KUBECTL} --server={quote(server)}" if server else KUBECTL
    return Script(f"""
end=$(($(date +%s) + {seconds}))
until {kubectl} get --raw /readyz >"$W/out" 2>"$W/err"; do
  if [ "$(date +%s)" -ge "$end" ]; then
    tail -n 3 "$W/out" "$W/err" >&2
    {on_failure}
    exit 1
  fi
  sleep 0.2
done
""")


def api_ready(runners: Sequence[Runner]) -> str:
    """Every control plane's own API server says /readyz. Raises ProvisionError with the last lines of its journal."""
    began = time.monotonic()
    for runner in runners:
        _await_server(runner, _SERVER_READY)
    return (
        f"{len(runners)} API server{'s' if len(runners) > 1 else ''} after {time.monotonic() - began:.1f} s"
    )


def api_started(runners: Sequence[Runner], began: float) -> str:
    """The same for those that were started since `began` (time.monotonic): whoever restarts servers one after the other
    goes on only when the last one serves. One that is to be started yet may be away, or be broken. Raises as
    `api_ready`."""
    waited = time.monotonic()
    answers = [
        _await_server(
            runner, Script(_STARTED.format(seconds=int(time.monotonic() - began) + 1) + _SERVER_READY.main)
        )
        for runner in runners
    ]
    return f"{sum('started' in each for each in answers)} started, after {time.monotonic() - waited:.1f} s"


_SERVER_READY = _until_ready(
    API_SECONDS, on_failure="journalctl --no-pager --quiet -n 8 -o cat -u kube-apiserver >&2 || :"
)
_STARTED = """
since=$(TZ=UTC0 systemctl show --property=ActiveEnterTimestamp --value kube-apiserver.service)
[ -n "$since" ] || exit 0
[ $(($(date +%s) - $(date -d "$since" +%s))) -le {seconds} ] || exit 0
echo started
"""


def _await_server(runner: Runner, script: Script) -> str:
    result = runner.run(script, deadline=API_SECONDS + 30)
    if result.status != 0:
        raise ProvisionError(
            f"the API server on {runner.host} was not ready after {API_SECONDS} s:\n{_tail(result)}",
            f"see `journalctl -u kube-apiserver` on {runner.host}",
        )
    return result.stdout.decode(errors="replace")


def endpoint_ready(runner: Runner, endpoint: str, hint: str) -> str:
    """The API server answers at `endpoint` (HOST:PORT), by which nodes and clients know it. Raises ProvisionError with
    the `hint`."""
    began = time.monotonic()
    script = _until_ready(ENDPOINT_SECONDS, server=f"https://{endpoint}")
    result = runner.run(script, deadline=ENDPOINT_SECONDS + 30)
    if result.status != 0:
        raise ProvisionError(
            f"{runner.host}: the API server does not answer at {endpoint}:\n{_tail(result)}",
            hint,
        )
    return f"answers at {endpoint} after {time.monotonic() - began:.1f} s"


def network_ready(
    runner: Runner, nodes: Sequence[str], daemon_sets: Sequence[str], *, operated: bool = False
) -> str:
    """All `nodes` have the condition Ready and the plug-in's pods run everywhere: a node is Ready as soon as a CNI
    configuration lies there, which is before the plug-in can serve a pod.

    `daemon_sets` as object keys ("DaemonSet kube-flannel/kube-flannel-ds"); `operated`: an operator makes them in its
    own time, and without them no node is Ready. Raises ProvisionError with what is said.
    """
    names = words(f"node/{name}" for name in nodes)
    awaited = "".join(f"made {_place(each)}\n" for each in daemon_sets) if operated else ""
    script = f"""{_ROLLED}{_MADE if awaited else ""}{awaited}
# A wait looks at one node after the other, 0.1 s each; mostly all are Ready.
ready=$({KUBECTL} get {names} -o jsonpath='{_READY_NODES}')
for each in $ready; do [ "$each" = True ] || waiting=yes; done
if [ -n "${{waiting-}}" ] || [ -z "$ready" ]; then
  {KUBECTL_WAITING} wait --for=condition=Ready --timeout={NODE_SECONDS}s {names} >/dev/null || {{
    tell
    exit {_NODES}
  }}
fi
""" + "".join(_rollout(each, len(nodes)) for each in daemon_sets)
    began = time.monotonic()
    result = runner.run(Script(script), deadline=(3 if operated else 2) * NODE_SECONDS + 60)
    if result.status != 0:
        what, hint = _UNREADY.get(result.status, _ANY)
        seconds = time.monotonic() - began
        raise ProvisionError(f"{what} after {seconds:.0f} s:\n{_tail(result)}", hint)
    return f"{len(nodes)} nodes"


def _rollout(key: str, count: int) -> str:
    return f"rolled {_place(key)} {count}\n"


def _place(key: str) -> str:
    namespace, _, name = key.partition(" ")[2].partition("/")
    return f"{quote(namespace)} {quote(name)}"


def _tail(result: Answer) -> str:
    return "\n".join(result.stderr.decode(errors="replace").strip().splitlines()[-12:])
