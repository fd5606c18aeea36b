"""BGP sessions among Calico's nodes: which there have to be, and which BIRD says there are.

Facts: Calico 3.31, confd/etc/calico/confd/templates/bird.cfg.template: a session is named after its kind (Mesh, Global,
Node, Local), its peer's address, and its port where one is named; a node with a cluster ID has no part in the mesh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.kube.kubectl import KUBECTL, KUBECTL_EXEC
from provisioner.shell.quote import quote

MESH = "bgpconfigurations.crd.projectcalico.org default"
_SOCKETS = {"IPv4": "bird", "IPv6": "bird6"}
_PEER = re.compile(r"(?P<kind>[A-Z][a-z]+)_(?P<address>[0-9a-f_]+?)(?:_port_[0-9]+)?")
_NODES = (
    r'{range .items[*]}{"node\t"}{.metadata.name}{"\t"}{.metadata.labels.route-reflector}{"\t"}'
    r'{.metadata.annotations.projectcalico\.org/RouteReflectorClusterID}{"\t"}'
    r'{.metadata.annotations.projectcalico\.org/IPv4Address}{"\t"}'
    r'{.metadata.annotations.projectcalico\.org/IPv6Address}{"\n"}{end}'
)
_PODS = r'{range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}'

# birdcl prints a line for each session: name, protocol, table, state, since, and what it is at.
_READ = f"""
echo "mesh $({KUBECTL} get {MESH.partition(" ")[0]} -o jsonpath='{{.items[*].spec.nodeToNodeMeshEnabled}}')"
{KUBECTL} get nodes -o jsonpath={quote(_NODES)}
{KUBECTL} -n NAMESPACE get pods -l k8s-app=calico-node -o jsonpath={quote(_PODS)} >"$P/pods"
while read -r pod node; do
  for socket in BIRDS; do
    echo "=$node $socket"
    {KUBECTL_EXEC} -n NAMESPACE exec "$pod" -c calico-node -- \\
      sh -c "birdcl -s /var/run/calico/$socket.ctl show status; birdcl -s /var/run/calico/$socket.ctl show protocols" \\
      </dev/null 2>&1 || :
  done
done <"$P/pods"
"""


@dataclass(frozen=True)
class Speaker:
    """A node by what Calico keeps of it: its cluster ID, "" for one that reflects nothing, and its addresses by the
    name of BIRD's socket, written as in the names of sessions. `half`: it has a cluster ID without the label, or the
    label alone."""

    name: str
    cluster: str
    addresses: Mapping[str, str]
    half: bool = False


@dataclass(frozen=True)
class Sessions:
    """What one node's BIRD of an IP family says: (session's name, the whole line) and when it last read its
    configuration."""

    lines: tuple[tuple[str, str], ...] = ()
    read: str = ""

    def named(self, *, mesh: bool) -> dict[str, str]:
        """Those of the mesh, or all others, by the peer's address."""
        found = {}
        for name, line in self.lines:
            peer = _PEER.fullmatch(name)
            if peer is not None and (peer["kind"] == "Mesh") is mesh:
                found[peer["address"]] = line
        return found


@dataclass(frozen=True)
class Reading:
    """Of the whole cluster at one time: `mesh` whether it is on, and sessions by node and socket."""

    mesh: bool = True
    speakers: Mapping[str, Speaker] = field(default_factory=dict)
    sessions: Mapping[tuple[str, str], Sessions] = field(default_factory=dict)
    sockets: frozenset[str] = frozenset()
    """Of the IP families that were asked for."""

    def read_by(self, node: str) -> dict[str, str]:
        """When the node's BIRDs last read their configuration, by socket."""
        return {socket: each.read for (name, socket), each in self.sessions.items() if name == node}

    def missing(self, nodes: Sequence[str], *, without_mesh: bool = False) -> list[str]:
        """What is not as it shall be on the cluster's `nodes`, in words; sessions with others are theirs alone.
        `without_mesh`: each node has to have a session that stays when the mesh goes, and those with routers outside
        count as well."""
        found = []
        for name in nodes:
            own = self.speakers.get(name, Speaker(name, "", {}))
            if not own.addresses or self.sockets - own.addresses.keys():
                found.append(f"{name}: Calico knows no address of it, or of one IP family alone")
                continue
            for socket in sorted(self.sockets):
                found += [
                    f"{name}: {each}" for each in self._missing(own, socket, nodes, without_mesh=without_mesh)
                ]
        return found

    def _missing(
        self, own: Speaker, socket: str, nodes: Sequence[str], *, without_mesh: bool
    ) -> Iterator[str]:
        mine = self.sessions.get((own.name, socket), Sessions())
        known = {each.addresses[socket]: each for each in self.speakers.values() if socket in each.addresses}
        others = {
            address: each for address, each in known.items() if each.name in nodes and each.name != own.name
        }
        meshed, peered = mine.named(mesh=True), mine.named(mesh=False)
        # Two BIRDs that have two sessions with each other may leave it at one connection.
        up = {address for each in (meshed, peered) for address, line in each.items() if _is_up(line)}
        for address, line in (*meshed.items(), *peered.items()):
            if address not in up and (address in others or (without_mesh and address not in known)):
                yield line
        for address, each in sorted(others.items()):
            reflecting = bool(own.cluster or each.cluster)
            wanted = peered if reflecting else meshed
            if address not in wanted and (reflecting or self.mesh):
                yield f"has no session with {each.name}" + ("" if reflecting else " of the mesh")
            if address in meshed and (reflecting or not self.mesh):
                yield f"still has the mesh's session with {each.name}"
        if others and not any(map(_is_up, peered.values())) and (without_mesh or not self.mesh):
            yield "has no session but the mesh's"


def _is_up(line: str) -> bool:
    return line.endswith(" Established")


def script(namespace: str, families: Sequence[str]) -> str:
    """Reads all that `parse` wants, of the IP `families` (IPv4, IPv6)."""
    sockets = " ".join(_SOCKETS[each] for each in families)
    return _READ.replace("NAMESPACE", quote(namespace)).replace("BIRDS", sockets)


def parse(text: str) -> Reading:
    head, *blocks = ("\n" + text).split("\n=")
    asked = {block.partition("\n")[0].rpartition(" ")[2] for block in blocks}
    rows = [line.split("\t") for line in head.splitlines() if line.count("\t") == 5]
    speakers = {row[1]: _speaker(row, asked) for row in rows}
    found = {}
    for block in blocks:
        place, _, lines = block.partition("\n")
        node, _, socket = place.rpartition(" ")
        found[(node, socket)] = _sessions(lines)
    return Reading("\nmesh false" not in head, speakers, found, frozenset(asked))


def _speaker(row: Sequence[str], asked: set[str]) -> Speaker:
    _, name, label, cluster, four, six = row
    written = {
        socket: each.partition("/")[0]
        for socket, each in (("bird", four), ("bird6", six))
        if each and socket in asked
    }
    addresses = {socket: re.sub("[.:]", "_", each) for socket, each in written.items()}
    labelled = label == "true"
    return Speaker(name, cluster if labelled else "", addresses, half=labelled is not bool(cluster))


def _sessions(text: str) -> Sessions:
    lines = [line.strip() for line in text.splitlines()]
    read = [line for line in lines if line.startswith("Last reconfiguration")]
    rows = tuple((line.split()[0], " ".join(line.split())) for line in lines if " BGP " in line)
    return Sessions(rows, read[-1] if read else "")
