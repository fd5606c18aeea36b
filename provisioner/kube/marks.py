"""Ownership of labels and taints: which of a node's are ours is on record in the cluster, and what left the spec goes.

The record is a ConfigMap and not an annotation of the node, because the node's kubelet could write that, and so have us
take away what an administrator has set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, PROBING
from provisioner.resources.model import Absent, Change, Present, Resource, Runner, State
from provisioner.resources.task import TaskCall
from provisioner.shell.assemble import parse_probes, probe_script
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

RECORD = "provision-marks"
"""The ConfigMap in kube-system: by node, the names of what is ours, separated by spaces: `label:KEY` and
`taint:KEY:EFFECT`."""

GET_RECORD = f"-n kube-system get configmap {RECORD} --ignore-not-found -o jsonpath='{{.data}}'"
"""kubectl's arguments for reading it."""

_OLD_RECORD = "provision.dev/marks"
"""An annotation of nodes that did the same once. It is taken away unread."""

# The record is made when the first thing is to be noted in it.
NOTE = f"""
note() {{
  {KUBECTL} -n kube-system get configmap {RECORD} >/dev/null 2>&1 || {{
    {KUBECTL} -n kube-system create configmap {RECORD} >/dev/null
    {KUBECTL} annotate nodes --all {_OLD_RECORD}- >/dev/null
  }}
  {KUBECTL} -n kube-system patch configmap {RECORD} --type merge -p "$1" >/dev/null
}}"""


class NodeMarksKind:
    """Present({"left": names}) of what is ours on a node and no longer wanted; Absent when there is nothing."""

    name = "node_marks"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        raise task.error("this is not for playbooks: it follows from node_joined")

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"{PROBING}probing {GET_RECORD}\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        record = parse_record(output)
        left = {
            each.id: tuple(sorted(set(record.get(each.name, ())) - each.spec["wanted"])) for each in resources
        }
        return {rid: Present({"left": names}) if names else Absent() for rid, names in left.items()}

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Takes away what left, and notes what is ours now."""
        lines = [line for change in changes for line in _without_left(change)]
        ask(runner, locked("\n".join(["set -e", NOTE, *lines])) + "\n")


def node_marks(joined: Resource) -> Resource:
    """The wish that nothing of ours is on a node but what its `node_joined` wants."""
    wanted = joined.desired.attrs if isinstance(joined.desired, Present) else {}
    return Resource("node_marks", joined.name, Absent(), {"wanted": marks_of(wanted)})


def marks_of(attrs: Mapping[str, object]) -> frozenset[str]:
    """Those of a node's attributes that are labels and taints."""
    return frozenset(each for each in attrs if each.startswith(("label:", "taint:")))


def parse_record(output: bytes) -> dict[str, tuple[str, ...]]:
    """Names of what is ours, by node."""
    return {
        str(node): tuple(str(names).split()) for node, names in json.loads(output.strip() or b"{}").items()
    }


def note_line(node: str, names: frozenset[str]) -> str:
    """The command that notes what is ours on a node."""
    return f"note {quote(json.dumps({'data': {node: ' '.join(sorted(names))}}))}"


def ask(runner: Runner, script: str, program: str = "kubectl") -> bytes:
    """What `script` prints, which calls `program`. Raises ProvisionError when it fails."""
    result = runner.run(probe_script([Script(script)]), deadline=60 + LOCK_SECONDS)
    answer = parse_probes(result.stdout).get(0)
    if answer is None or answer.status != 0:
        said = (answer.stderr if answer else result.stderr).decode(errors="replace").strip()
        raise ProvisionError(f"{runner.host}: {program} failed: {said[-400:]}")
    return answer.stdout


def without(node: str, left: Sequence[str]) -> list[str]:
    """The commands that take labels and taints away from a node."""
    lines = []
    if labels := [f"{each[6:]}-" for each in left if each.startswith("label:")]:
        lines.append(f"{KUBECTL} label node {quote(node)} {words(labels)} >/dev/null")
    return [*lines, *(_without_taint(quote(node), each[6:]) for each in left if each.startswith("taint:"))]


def _without_left(change: Change) -> list[str]:
    found = change.before.attrs["left"] if isinstance(change.before, Present) else ()
    left = [str(each) for each in found] if isinstance(found, tuple) else []
    node = change.resource.name
    return [*without(node, left), note_line(node, change.resource.spec["wanted"])]


def _without_taint(node: str, taint: str) -> str:
    """The command that takes a taint away. kubectl fails when somebody else has done so already (kubectl 1.33,
    pkg/cmd/taint: `taint "KEY:EFFECT" not found`): only that is no failure."""
    gone = quote(f'taint "{taint}" not found')
    return (
        f"said=$({KUBECTL} taint node {node} {quote(taint)}- 2>&1) ||"
        f" case $said in *{gone}*) ;; *) printf '%s\\n' \"$said\" >&2; exit 1 ;; esac"
    )
