"""Pods that exchange requests all the time, so that what a change of the network costs is measured, not guessed.

`start` makes them, `collect` tells what each pair of nodes lost since, at any time and as often as is wished, `stop`
takes everything away. What a killed run left is removed by the next `start`, or by `stop`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.engine.events import ExchangeMeasured
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.complaints import Item
from provisioner.kube.exchange_client import LIMIT, UNTIL
from provisioner.kube.exchange_objects import FOLDER, LABEL, NAMESPACE, deployments, pairs_of, services
from provisioner.kube.exchange_records import Told, exchanged, summed, told
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.kube.podwait import NOT_YET, Present, awaited, nobody
from provisioner.resources.model import Answer, Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

Everywhere = Callable[[Mapping[str, Script]], Mapping[str, Answer | Exception]]
"""As traffic.Everywhere."""
Marks = Mapping[str, float]
"""By node the moment from which losses count, in seconds since its boot."""

FIRST = 30.0
"""Seconds in which each pair has to get its answers, once all pods are ready."""
_AT_ONCE = 16
"""Nodes whose records are here at the same time: those of an hour are 7 MB a node."""
_REMOVAL = 60
_OURS = f"{KUBECTL} -n {NAMESPACE}"

_CLEARED = f"""
cleared() {{
  # Without their time to leave; what is in a namespace would have it when that goes.
  {_OURS} delete deployment,replicaset,pod --all --grace-period=1 --wait=false >/dev/null &&
    {KUBECTL} delete namespace {NAMESPACE} --ignore-not-found --wait=false >/dev/null
}}
gone() {{
  end=$(($(date +%s) + {_REMOVAL}))
  while left=$({KUBECTL} get namespace {NAMESPACE} --ignore-not-found -o name) || return 1; [ -n "$left" ]; do
    [ "$(date +%s)" -lt "$end" ] || {{ {_OURS} get pods -o name >&2; echo "$left" >&2; return 1; }}
    sleep 0.3
  done
}}
"""
_SERVED = f"""
created() {{
  {KUBECTL} create --validate=false -f "$W/objects.json" >/dev/null 2>"$W/refused"
}}
{locked("created")} || {{
  grep -q '(AlreadyExists)' "$W/refused" || {{ cat "$W/refused" >&2; exit 1; }}
  {locked("cleared")} && gone || exit 1
  {locked("created")} || {{ cat "$W/refused" >&2; exit 1; }}
}}
{_OURS} get services -o json
"""
_MADE = f"""
created() {{
  {KUBECTL} create --validate=false -f "$W/objects.json" >/dev/null
}}
{locked("created")} || exit 1
"""
_LOOK = f"""
what=pods
{KUBECTL_WAITING} -n {NAMESPACE} wait --for=condition=Available --timeout=3s deployment --all >/dev/null 2>&1 ||
  what=pods,events
{_OURS} get "$what" -o json || exit 1
[ "$what" = pods ] || exit {NOT_YET}
"""
_LINES, _MORE = 30, 300
"""More than two clients can write in a second for one peer: ten each; and some for what is under way."""
_READ = f"""
read -r now _ </proc/uptime
echo "now $now $(date +%s.%N)"
cd {FOLDER}/RUN 2>/dev/null || exit 0
echo "$((${{now%.*}} + {LIMIT}))" >{UNTIL}.new
mv {UNTIL}.new {UNTIL}
lines=$(((${{now%.*}} - SINCE) * {_LINES} + {_MORE}))
for each in *; do
  [ -f "$each" ] || continue
  echo "of $each"
  tail -n "$lines" -- "$each"
done
"""
"""Tells what was written since then, and has the clients go on."""
_FORGET = Script(f"rm -rf {FOLDER}\n")


@dataclass(frozen=True)
class Exchange:
    """Of one `run`, between the nodes, which are connected by these names; `image` is agnhost's."""

    run: str
    image: str
    nodes: tuple[str, ...]

    def start(self, runner: Runner, everywhere: Everywhere, present: Present = nobody) -> Marks:
        """Once pods of each pair have talked. `runner` is a control plane's; `present` is called while pods are waited
        for.

        Raises ProvisionError with what keeps pods from running, or the pairs that do not talk; what was made is then
        there yet, and `stop` removes it.
        """
        _checked(everywhere(dict.fromkeys(self.nodes, _FORGET)))
        made = deployments(self.run, self.nodes, self.image, self._served(runner))
        self._await_pods(runner, list_json(made), present)
        return self._await_answers(everywhere)

    def mark(self, everywhere: Everywhere) -> Marks:
        """Now, for who wants to count anew from here on."""
        return {node: each.now for node, each in self._told(everywhere).items()}

    def collect(self, everywhere: Everywhere, since: Marks) -> ExchangeMeasured:
        """What each pair lost since then. Needs no API. Raises ProvisionError, and UnreachableError for a node that
        cannot be asked."""
        pairs, seconds, asked = [], 0.0, self.pairs
        for first in range(0, len(self.nodes), _AT_ONCE):
            answers = self._asked(everywhere, since, self.nodes[first : first + _AT_ONCE])
            for node in list(answers):  # one at a time: records need more room than what is written
                seen = told(node, answers.pop(node).stdout.decode(errors="replace"))
                pairs += [exchanged(node, each, since[node], seen) for here, each in asked if here == node]
                seconds = max(seconds, seen.now - since[node])
        return summed(pairs, seconds)

    def stop(self, runner: Runner, everywhere: Everywhere) -> None:
        """Takes all of it away, and what others left. Raises ProvisionError when something is left."""
        script = f"{_CLEARED}{locked('cleared')} && gone\n"
        answer = runner.run(Script(script), deadline=LOCK_SECONDS + 90 + _REMOVAL)
        if answer.status != 0:
            raise ProvisionError(
                f"objects are left in the namespace {NAMESPACE}:\n{_last(answer)}",
                f"look at what holds them, then `kubectl delete namespace {NAMESPACE}`",
            )
        _checked(everywhere(dict.fromkeys(self.nodes, _FORGET)))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Who asks whom."""
        return pairs_of(self.nodes)

    def _served(self, runner: Runner) -> dict[str, str]:
        """The addresses of the services, by node."""
        objects = {"objects.json": Blob.of(list_json(services(self.run, self.nodes)))}
        answer = runner.run(Script(_CLEARED + _SERVED, objects), deadline=3 * LOCK_SECONDS + 90 + _REMOVAL)
        if answer.status != 0:
            raise ProvisionError(f"services for an exchange of requests cannot be made:\n{_last(answer)}")
        found = {item["metadata"]["name"]: item["spec"]["clusterIP"] for item in _items(answer)}
        return {node: found[f"peer-{number}"] for number, node in enumerate(self.nodes)}

    def _await_pods(self, runner: Runner, objects: bytes, present: Present) -> None:
        script = Script(_MADE + _LOOK, {"objects.json": Blob.of(objects)})
        answer = awaited(
            lambda: runner.run(script, deadline=LOCK_SECONDS + 90),
            lambda: runner.run(Script(_LOOK), deadline=60),
            lambda answer: [each for each in _items(answer) if each["kind"] == "Event" or self._is_own(each)],
            "an exchange of requests",
            present=present,
        )
        if answer.status != 0:
            raise ProvisionError(f"pods that exchange requests cannot be made:\n{_last(answer)}")

    def _is_own(self, item: Item) -> bool:
        return bool((item["metadata"].get("labels") or {}).get(LABEL) == self.run)

    def _await_answers(self, everywhere: Everywhere) -> Marks:
        end = time.monotonic() + FIRST
        while True:
            seen = self._told(everywhere)
            silent = [f"{here} → {there}" for here, there in self.pairs if not seen[here].talks(there)]
            if not silent:
                return {node: each.now for node, each in seen.items()}
            if time.monotonic() > end:
                raise ProvisionError(
                    f"pods of these nodes do not reach each other: {', '.join(silent)}",
                    "`provision verify INVENTORY` tells which connections work",
                )
            time.sleep(0.5)

    def _told(self, everywhere: Everywhere) -> dict[str, Told]:
        """Of late."""
        answers = self._asked(everywhere, {}, self.nodes)
        return {node: told(node, answers[node].stdout.decode(errors="replace")) for node in self.nodes}

    def _asked(self, everywhere: Everywhere, since: Marks, nodes: Sequence[str]) -> dict[str, Answer]:
        """What clients have written on each of the nodes since then; where that is not said, of late."""
        read = _READ.replace("RUN", quote(self.run))
        scripts = {
            node: Script(read.replace("SINCE", str(int(since[node])) if node in since else "${now%.*}"))
            for node in nodes
        }
        return _checked(everywhere(scripts))


def _checked(answers: Mapping[str, Answer | Exception]) -> dict[str, Answer]:
    """Raises what some host raised instead of an answer; that one is lost comes first."""
    faults = [each for each in answers.values() if isinstance(each, Exception)]
    for fault in sorted(faults, key=lambda each: not isinstance(each, UnreachableError)):
        raise fault
    found = {name: each for name, each in answers.items() if not isinstance(each, Exception)}
    for name, each in found.items():
        if each.status != 0:
            raise ProvisionError(f"{name}: what its pods wrote cannot be read or removed:\n{_last(each)}")
    return found


def _items(answer: Answer) -> list[Item]:
    found: list[Item] = json.loads(answer.stdout)["items"]
    return found


def _last(answer: Answer) -> str:
    return "\n".join(answer.stderr.decode(errors="replace").strip().splitlines()[-12:])
