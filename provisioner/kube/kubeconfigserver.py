"""The module `kubeconfig_server`: the kubeconfigs of a host that somebody else has set up lead to another API server.

Nothing in them is changed but `server`. A node has to come back through the new one within a time: its lease renewed
and Ready again, asked with the kubelet's own kubeconfig. Else all its kubeconfigs are as before (kube.wayback): also
where the run dies, or the host loses its controller or its power. A switch that was cut off is gone on with.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.kube.kubeconfigedit import servers, with_servers
from provisioner.kube.wayback import APPROVE, FINISH, FOLDER, GO_BACK, begin
from provisioner.resources.model import Change, Plain, Present, Resource, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

READY_SECONDS = 90
"""A kubelet renews its lease each 10 s, and says that it is Ready at its start; kube-proxy starts in a second."""
STOP_SECONDS = 90
"""After which systemd kills what does not end (systemd-system.conf(5), DefaultTimeoutStopSec=)."""
ASKING_SECONDS = 10
"""For one question."""
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
has() {
  now=$(sha256sum <"$1")
  case " $2 " in *" ${now%% *} "*) ;; *) return 1 ;; esac
}
known() { has "$1" "$2" || { echo "$1 is another one than was read: run again" >&2; exit 1; }; }
like() { put "$1" "$2" "$(stat -Lc %a -- "$2")" "$(stat -Lc %U -- "$2")" "$(stat -Lc %G -- "$2")"; }
"""
# The script of a run that was cut off goes on to its end, and this one waits for it: by now it may have approved, and
# nothing is left to be done, or have taken back. What is under way is not judged before, but by whether it returns.
_SWITCH = f"""
{FINISH}
%(known)s
[ -e {FOLDER}/back ] && begun=yes || begun=
[ -n "$begun" ] || ! {{ %(written)s; }} || exit 0
node=%(node)s
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
able() {{
  is_ready || {{
    echo "the node $node is not Ready as it is: it is not switched; mend it, or leave its host out of the inventory" >&2
    return 1
  }}
  timeout {ASKING_SECONDS} {KUBECTL} --kubeconfig=%(kubelet)s --request-timeout=5s --server=%(server)s \\
    get node "$node" -o name >/dev/null || {{
    echo "%(server)s does not serve the node $node from here: it is not switched" >&2
    return 1
  }}
}}
take_back() {{
  {GO_BACK}
  cat "$W/said" >&2
  echo "the node $node did not come back through %(server)s in {READY_SECONDS} s;" \\
    "it has its old kubeconfigs again" >&2
  exit 1
}}
[ -n "$begun" ] || able || exit 1
%(begin)s
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
{{
{APPROVE.strip()}
}} || take_back
"""


class KubeconfigServerKind:
    """Attributes: by path, the servers that the kubeconfig names; of a node, `approved`: no switch is under way there.
    As long as one is, also the SHA-256 of each file that goes back, by "kept PATH"."""

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
        writes = tuple(attrs)
        if has.node:
            attrs["approved"] = True
        return [Resource("kubeconfig_server", "server", Present(attrs), spec, writes=writes)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        paths = [path for each in resources for path in each.spec["has"].texts]
        return Script(_PROBE % words(paths))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        rows = [line.split(" ", 1) for line in output.decode(errors="replace").splitlines()]
        return {each.id: _state(each, [(key, value) for key, value in rows]) for each in resources}

    def change(self, change: Change) -> Script:
        has: HostKubeconfigs = change.resource.spec["has"]
        resumed = change.action != "create" and "approved" in change.keys
        paths = [path for path in has.texts if path in change.keys or change.action == "create" or resumed]
        payload = {
            f"new{number}": Blob.of(has.new(path).encode(), secret=True) for number, path in enumerate(paths)
        }
        known = [f"known {quote(path)} {quote(_known(change, path))}" for path in paths]
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
        new = {path: _digest(has.new(path)) for path in paths}
        made = begin(new, units)
        parts = {
            "node": quote(has.node),
            "kubelet": quote(has.kubelet),
            "units": " ".join(units),
            "known": "\n".join(known),
            "written": " && ".join(f"has {quote(path)} {digest}" for path, digest in new.items()),
            "begin": made.main.strip(),
            "install": "\n".join(install),
            "server": change.resource.spec["server"],
        }
        return Script(f"{_HEAD}{_SWITCH % parts}", {**payload, **made.payload})


_PROBE = f"""
for f in %s; do
  [ ! -f "$f" ] || echo "$(base64 -w0 <"$f") $f"
  for d in {FOLDER} {FOLDER}.back; do
    [ ! -d "$d" ] || echo "switching $d"
    [ ! -f "$d/kept$f" ] || {{ now=$(sha256sum <"$d/kept$f") && echo "kept ${{now%%%% *}} $f"; }}
  done
done
"""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _known(change: Change, path: str) -> str:
    """What may lie there when the change begins: what was read, what was there before a switch that is under way and
    may be over by then, and what is wanted."""
    has: HostKubeconfigs = change.resource.spec["has"]
    kept = change.before.attrs.get(f"kept {path}") if isinstance(change.before, Present) else None
    digests = (_digest(has.texts[path]), _digest(has.new(path)), str(kept or ""))
    return " ".join(dict.fromkeys(filter(None, digests)))


def _state(resource: Resource, rows: Sequence[tuple[str, str]]) -> State:
    has: HostKubeconfigs = resource.spec["has"]
    attrs: dict[str, Plain] = dict.fromkeys(has.texts)
    attrs["approved"] = True
    for word, rest in rows:
        if word == "switching":
            attrs["approved"] = False
        elif word == "kept":
            digest, _, path = rest.partition(" ")
            attrs[f"kept {path}"] = digest
        else:
            try:
                attrs[rest] = servers(base64.b64decode(word).decode())
            except ValueError as fault:
                return Unknown(f"{rest}: {fault}")
    return Present(attrs)
