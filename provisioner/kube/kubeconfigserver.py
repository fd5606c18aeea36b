"""The module `kubeconfig_server`: the kubeconfigs of a host that somebody else has set up lead to another API server.

Nothing in them is changed but `server`. A node has to come back through the new one within a time: its lease renewed
and Ready again, asked with the kubelet's own kubeconfig. Else all its kubeconfigs are as before, by a script that the
host keeps for that: also where the run dies, or the host loses its controller.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.kube.kubeconfigedit import servers, with_servers
from provisioner.resources.model import Change, Plain, Present, Resource, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

READY_SECONDS = 90
"""A kubelet renews its lease each 10 s, and says that it is Ready at its start; kube-proxy starts in a second."""
STOP_SECONDS = 90
"""After which systemd kills what does not end (systemd-system.conf(5), DefaultTimeoutStopSec=)."""
ASKING_SECONDS = 10
"""For one question."""
BACK_SECONDS = 240
"""After which the host takes back by itself what no run has confirmed: longer than a run can take until it takes back,
which is a stop, a question, the wait for the node, and the two questions in which that ends."""
KUBECTL = "/opt/kubernetes/bin/kubectl"


@dataclass(frozen=True)
class HostKubeconfigs:
    """What a host has: `texts` by path, with every server to be replaced by `instead`. `node` is its name in the
    cluster, and `kubelet` and `proxy` are the paths of its kubeconfigs as a node; "" on a host that is none."""

    texts: Mapping[str, str] = field(repr=False)
    instead: Mapping[str, str]
    node: str = ""
    kubelet: str = ""
    proxy: str = ""

    def new(self, path: str) -> str:
        return with_servers(self.texts[path], lambda server: self.instead.get(server, server))


_HEAD = """
known() {
  [ "$(sha256sum <"$1")" = "$2  -" ] || { echo "$1 is another one than was read: run again" >&2; exit 1; }
}
like() { put "$1" "$2" "$(stat -Lc %a -- "$2")" "$(stat -Lc %U -- "$2")" "$(stat -Lc %G -- "$2")"; }
"""
# The script that takes it back runs as a unit of its own, started by a timer that only this one stops. It works on
# copies in /run, and is of use until the host boots anew.
_SWITCH = f"""
node=%(node)s
back=/run/provision/switch-back
lease() {{
  timeout {ASKING_SECONDS} {KUBECTL} --kubeconfig=%(kubelet)s --request-timeout=5s -n kube-node-lease \\
    get lease "$node" -o 'jsonpath={{.spec.renewTime}}'
}}
is_ready() {{
  [ "$(timeout {ASKING_SECONDS} {KUBECTL} --kubeconfig=%(kubelet)s --request-timeout=5s get node "$node" \\
    -o 'jsonpath={{.status.conditions[?(@.type=="Ready")].status}}')" = True ]
}}
active() {{
  for u in %(units)s; do systemctl is-active --quiet "$u" || return 1; done
}}
returned() {{
  now=$(lease) && [ -n "$now" ] && [ "$now" != "$before" ] && is_ready && active
}} 2>"$W/said"
is_ready || {{
  echo "the node $node is not Ready as it is: it is not switched; mend it, or leave its host out of the inventory" >&2
  exit 1
}}
timeout {ASKING_SECONDS} {KUBECTL} --kubeconfig=%(kubelet)s --request-timeout=5s --server=%(server)s \\
  get node "$node" -o name >/dev/null || {{
  echo "%(server)s does not serve the node $node from here: it is not switched" >&2
  exit 1
}}
systemctl stop provision-switch-back.timer 2>/dev/null || :
rm -rf -- "$back"
(umask 077 && mkdir -p -- "$back")
cat >"$back/run" <<'END'
set -u
cd /run/provision/switch-back || exit
# Only what the switch has written: somebody may have edited it since.
restore() {{
  now=$(sha256sum <"$2")
  if [ "$now" = "$3  -" ]; then
    cp -aT -- "$1" "$2.provision-back" && mv -fT -- "$2.provision-back" "$2"
  elif [ "$now" != "$(sha256sum <"$1")" ]; then
    echo "$2 was changed after the switch: it stays as it is" >&2
  fi
}}
%(restore)s
systemctl reset-failed %(units)s 2>/dev/null
systemctl restart %(units)s
rm -rf -- /run/provision/switch-back
END
%(keep)s
systemd-run --quiet --unit=provision-switch-back --on-active={BACK_SECONDS} /bin/sh "$back/run"
take_back() {{
  systemctl stop provision-switch-back.timer || :
  /bin/sh "$back/run"
  cat "$W/said" >&2
  echo "the node $node did not come back through %(server)s in {READY_SECONDS} s;" \\
    "it has its old kubeconfigs again" >&2
  exit 1
}}
# What is renewed from here on was renewed through the new server.
systemctl stop %(units)s
before=$(lease 2>"$W/said") || take_back
%(install)s
# Whether they run is asked below, and a start may take long.
systemctl start --no-block %(units)s || :
end=$(($(date +%%s) + {READY_SECONDS}))
until returned; do
  [ "$(date +%%s)" -lt "$end" ] || take_back
  sleep 1
done
systemctl stop provision-switch-back.timer
rm -rf -- "$back"
"""


class KubeconfigServerKind:
    """Attributes: by path, the servers that the kubeconfig names."""

    name = "kubeconfig_server"

    def __init__(self, found: Mapping[str, HostKubeconfigs]) -> None:
        self._found = found

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names in the cluster of the hosts that are nodes."""
        return tuple(each.node for each in self._found.values() if each.node)

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"server": str}, {})
        has = self._found.get(task.host)
        if has is None or not has.texts:
            return []
        attrs: dict[str, Plain] = {path: servers(has.new(path)) for path in has.texts}
        spec = {"has": has, "server": str(task.args["server"])}
        return [Resource("kubeconfig_server", "server", Present(attrs), spec, writes=tuple(attrs))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        paths = [path for each in resources for path in each.spec["has"].texts]
        lines = (
            f'[ ! -f {quote(path)} ] || echo {quote(path)} "$(base64 -w0 <{quote(path)})"' for path in paths
        )
        return Script("\n".join(lines) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        texts = dict(_rows(output))
        return {each.id: _state(each, texts) for each in resources}

    def change(self, change: Change) -> Script:
        has: HostKubeconfigs = change.resource.spec["has"]
        paths = [path for path in has.texts if path in change.keys or change.action == "create"]
        payload = {
            f"new{number}": Blob.of(has.new(path).encode(), secret=True) for number, path in enumerate(paths)
        }
        known = [f"known {quote(path)} {_digest(has.texts[path])}" for path in paths]
        install = [
            f'displace {quote(path)}\nlike "$P/new{number}" {quote(path)}'
            for number, path in enumerate(paths)
        ]
        units = [
            unit
            for unit, path in (("kubelet", has.kubelet), ("kube-proxy", has.proxy))
            if path and path in paths
        ]
        if not units:
            return Script("\n".join([_HEAD, *known, *install]) + "\n", payload)
        parts = {
            "node": quote(has.node),
            "kubelet": quote(has.kubelet),
            "units": " ".join(units),
            "restore": "\n".join(
                f"restore {number} {quote(path)} {_digest(has.new(path))}"
                for number, path in enumerate(paths)
            ),
            "keep": "\n".join(
                f'cp -aLT -- {quote(path)} "$back/{number}"' for number, path in enumerate(paths)
            ),
            "install": "\n".join(install),
            "server": change.resource.spec["server"],
        }
        return Script("\n".join([_HEAD, *known, _SWITCH % parts]), payload)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(output: bytes) -> list[tuple[str, str]]:
    rows = (line.rpartition(" ") for line in output.decode(errors="replace").splitlines())
    return [(path, text) for path, _, text in rows]


def _state(resource: Resource, texts: Mapping[str, str]) -> State:
    attrs: dict[str, Plain] = {}
    for path, text in texts.items():
        try:
            attrs[path] = servers(base64.b64decode(text).decode())
        except ValueError as fault:
            return Unknown(f"{path}: {fault}")
    return Present({path: attrs.get(path) for path in resource.spec["has"].texts})
