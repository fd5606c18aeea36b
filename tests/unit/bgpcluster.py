"""Nodes with Calico's BGP, as far as kubectl and birdcl tell of them: sessions are those of confd's template.

A change is read by a node's BIRD some looks later, and then a session takes one more to be established.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.remote.session import Result
from provisioner.shell.script import Script

_PATCH = re.compile(r"patch (node|bgpconf\S*) ('[^']*'|\S+) --type merge -p '([^']*)'")


@dataclass
class Told:
    """What the API server says of nodes: who reflects, and whether the mesh is on."""

    clusters: dict[str, str]
    mesh: bool


@dataclass
class BGPCluster:
    """Answers scripts as a host with kubectl. `patches` are what was changed, in order, in words, with "!" behind one
    that came before all sessions were established."""

    nodes: Sequence[str]
    clusters: Mapping[str, str] = field(default_factory=dict)
    mesh: bool = True
    peered: Collection[frozenset[str]] = ()
    """Pairs of nodes that have a session by a BGPPeer of the spec's own."""
    half: Collection[str] = ()
    """Nodes with the label and no cluster ID, until they are patched."""
    away: Collection[str] = ()
    """Nodes whose agents do not answer."""
    lag: int = 2
    patches: list[str] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    ready: int = 0
    """How often the agents' DaemonSet was waited for."""
    host = "here"

    def __post_init__(self) -> None:
        self.told = Told(dict(self.clusters), self.mesh)
        self._seen = [Told(dict(self.clusters), self.mesh)] * (self.lag + 2)
        self._read = 0

    def run(self, script: Script, *, deadline: float = 0.0) -> Result:
        self.scripts.append(script)
        said = script.main + "".join((blob.data or b"").decode() for blob in script.payload.values())
        body = b""
        if "rollout status" in said:
            self.ready += 1
            return Result(0, b"", b"", 0.0)
        if (found := _PATCH.search(said)) is not None:
            self._patch(found[1], found[2].strip("'"), json.loads(found[3]))
        elif "birdcl" in said:
            body = self._look().encode()
        return Result(0, b"probes 0 %d 0\n%s" % (len(body), body), b"", 0.0)

    def _patch(self, kind: str, name: str, said: dict[str, dict[str, object]]) -> None:
        early = "" if self.settled else "!"
        if kind == "node":
            labels, marks = dict(said["metadata"]["labels"]), dict(said["metadata"]["annotations"])  # type: ignore[call-overload]
            (cluster,) = marks.values()
            assert labels == {"route-reflector": "true" if cluster else None}
            self.half = set(self.half) - {name}
            self.told.clusters.pop(name, None)
            self.told.clusters |= {name: cluster} if cluster else {}
            self.patches.append(f"{name} {cluster or 'ends'}{early}")
        else:
            self.told.mesh = bool(said["spec"]["nodeToNodeMeshEnabled"])
            self.patches.append(f"mesh {'on' if self.told.mesh else 'off'}{early}")

    @property
    def settled(self) -> bool:
        """Every node has read all, and what follows from that is established."""
        return all(each == self.told for each in self._seen)

    def _look(self) -> str:
        now = Told(dict(self.told.clusters), self.told.mesh)
        self._seen = [*self._seen[1:], now]
        self._read += self._seen[0] != self._seen[1]
        lines = [f"mesh {str(self.told.mesh).lower()}"]
        for node in self.nodes:
            cluster = self.told.clusters.get(node, "")
            label = "true" if cluster or node in self.half else ""
            lines.append(f"node\t{node}\t{label}\t{cluster}\t{self._address(node)}/24\t")
        for node in self.nodes:
            lines += [f"={node} bird", *([] if node in self.away else self._bird(node))]
        return "\n".join(lines) + "\n"

    def _bird(self, node: str) -> Iterable[str]:
        past, present = self._seen[0], self._seen[1]
        yield "BIRD v1.6.8 ready."
        yield f"Last reconfiguration on {self._read}"
        yield "static1 Static master up 09:00:00"
        for other in self.nodes:
            for kind in self._kinds(present, node, other) if other != node else ():
                name = f"{kind}_{self._address(other).replace('.', '_')}"
                up = kind in self._kinds(past, node, other) and other not in self.away
                state = (
                    "up 09:00:00 Established" if up else "start 09:00:00 Active Socket: Connection refused"
                )
                yield f"{name} BGP master {state}"

    def _kinds(self, told: Told, node: str, other: str) -> Iterable[str]:
        reflecting = told.clusters.keys() & {node, other}
        if told.mesh and not reflecting:
            yield "Mesh"
        if reflecting or frozenset({node, other}) in self.peered:
            yield "Node"

    def _address(self, node: str) -> str:
        return f"10.0.0.{list(self.nodes).index(node) + 1}"
