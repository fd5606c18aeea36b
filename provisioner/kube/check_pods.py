"""The pods of the traffic check: made, awaited with an eye on what keeps them from running, and removed again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.check_objects import LABEL, NAMESPACE, PART, ROLES, check_objects
from provisioner.kube.complaints import Item
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.kube.podwait import NOT_YET, Present, awaited, nobody
from provisioner.resources.model import Answer, Runner
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

_ROUND = 3
"""Seconds between two looks at pods that do not run yet."""
_REMOVAL = 30
"""Seconds in which the pods have to be gone."""

_SPACE_MISSING = f'namespaces "{NAMESPACE}" not found'

_OURS = f"{KUBECTL} -n {NAMESPACE}"
_CLEARED = f"""
only=ONLY
cleared() {{
  # Pods, too: who waits for the garbage collector waits longer.
  {_OURS} delete daemonset,pod,service "${{only:---all}}" --wait=false >/dev/null
}}
pods() {{
  {_OURS} get pods -o name ${{only:+"$only"}}
}}
gone() {{
  end=$(($(date +%s) + SECONDS))
  while left=$(pods) || return 1; [ -n "$left" ] && [ "$(date +%s)" -lt "$end" ]; do
    sleep 0.1
  done
  [ -z "$left" ] || {{ echo "$left" >&2; return 1; }}
}}
"""

CREATED = f"""
created() {{
  {KUBECTL} create --validate=false -f "$W/objects.json" >/dev/null 2>"$W/refused"
}}
anew() {{
  grep -q '(AlreadyExists)' "$W/refused" && cleared 2>"$W/refused" && gone 2>"$W/refused" && created
}}
created || anew || {{ cat "$W/refused" >&2; exit 1; }}
"""
"""Makes what is in objects.json. Only when something stands in the way is it asked for and removed: a killed run is
rare. Behind `clearing`."""


@dataclass(frozen=True)
class CheckPods:
    """Those of the check `name`; `image` is agnhost's. They come to the nodes of one part after the other, and go so;
    an empty part is all nodes. `joined`: some nodes have just joined."""

    name: str
    image: str
    parts: Sequence[Sequence[str]] = ((),)
    joined: bool = False

    def set_up(self, runner: Runner, nodes: Sequence[str], present: Present = nobody) -> list[Item]:
        """The running pods and the services, as the API has them; what killed runs left is removed.

        Raises ProvisionError with what each pod complains of, soon when it is the same all the time, and when a node
        has none; and what `present` raises, which is called only while pods are waited for.
        """
        items: list[Item] = []
        for number in range(len(self.parts)):
            items = self._made(runner, number, present)
        missing = _missing(items, nodes)
        if missing:
            raise ProvisionError(
                f"pods of the traffic check are missing: {', '.join(missing)}",
                "is every node registered, and may DaemonSets run there?",
            )
        return items

    def remove(self, runner: Runner) -> None:
        """Raises ProvisionError when something is left."""
        for number in reversed(range(len(self.parts))):
            script = f"{clearing(number)}{locked('cleared')} || exit 1\ngone\n"
            result = runner.run(Script(script), deadline=LOCK_SECONDS + 90 + _REMOVAL)
            if result.status != 0:
                raise ProvisionError(
                    f"objects of the traffic check are left in the namespace {NAMESPACE}:\n{_tail(result)}",
                    f"look at what holds them, then `kubectl -n {NAMESPACE} delete daemonset,service,pod --all`",
                )

    def _made(self, runner: Runner, part: int, present: Present) -> list[Item]:
        """What there is once the part's pods run, too."""
        script = f"{locked(clearing(part) + CREATED)} || exit 1\n{_look()}"
        objects = check_objects(self.name, self.image, self.parts[part], part)
        files = {"objects.json": Blob.of(list_json(objects))}
        answer = awaited(
            lambda: runner.run(Script(script, files), deadline=LOCK_SECONDS + 90 + _REMOVAL),
            lambda: runner.run(Script(_look()), deadline=60 + 3 * _ROUND),
            self._items,
            "the traffic check",
            present=present,
            joined=self.joined,
        )
        if answer.status != 0:
            raise refused(_tail(answer))
        return [item for item in self._items(answer) if "deletionTimestamp" not in item["metadata"]]

    def _items(self, answer: Answer) -> list[Item]:
        """What is this check's, and the events of that: others' pods may be on their way out, and events stay for an
        hour, also those of a DaemonSet that had the same name."""
        found: list[Item] = json.loads(answer.stdout)["items"]
        own = [item for item in found if (item["metadata"].get("labels") or {}).get(LABEL) == self.name]
        uids = {item["metadata"].get("uid") for item in own}
        told = (item for item in found if item["kind"] == "Event")
        return [*own, *(item for item in told if item["involvedObject"].get("uid") in uids)]


def clearing(part: int = 0) -> str:
    """Functions of sh: `cleared` deletes all objects of checks; `gone` waits for their pods to go, and names those that
    do not. Of another part than the first one: the same of that part alone."""
    only = f"--selector={PART}={part}" if part else ""
    return _CLEARED.replace("ONLY", only).replace("SECONDS", str(_REMOVAL))


def _look() -> str:
    """Waits for a round, then prints all pods and services; when some pod does not run, also what is told of them."""
    return f"""
what=pods,services
{KUBECTL_WAITING} -n {NAMESPACE} rollout status --timeout={_ROUND}s daemonset -l {LABEL} >/dev/null 2>&1 ||
  what=$what,daemonsets,events
{_OURS} get "$what" -o json || exit 1
[ "$what" = pods,services ] || exit {NOT_YET}
"""


def refused(said: str) -> ProvisionError:
    """What to raise when the API does not take them, and says why."""
    if _SPACE_MISSING in said:
        return ProvisionError(
            f"the namespace {NAMESPACE} of the traffic check is missing: has an older version made the cluster?",
            "`provision apply INVENTORY --stage admission`, once, makes it",
        )
    return ProvisionError(f"the pods of the traffic check cannot be made:\n{said}")


def _missing(items: Sequence[Item], nodes: Sequence[str]) -> list[str]:
    there = {
        (item["spec"].get("nodeName"), item["metadata"]["labels"]["role"])
        for item in items
        if item["kind"] == "Pod"
    }
    return [f"{role} on {node}" for node in nodes for role in ROLES if (node, role) not in there]


def _tail(answer: Answer) -> str:
    return "\n".join(answer.stderr.decode(errors="replace").strip().splitlines()[-15:])
