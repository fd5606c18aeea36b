"""The pods of a measurement: made, awaited, asked, and removed as those of the traffic check are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.bench_objects import CLIENT, SERVICE, Placement, bench_objects
from provisioner.kube.bench_tools import FAILED, SPEND
from provisioner.kube.check_objects import LABEL, NAMESPACE
from provisioner.kube.check_pods import (
    CREATED,
    CheckPods,
    clearing,
    refused,
)
from provisioner.kube.complaints import Item
from provisioner.kube.kubectl import KUBECTL, KUBECTL_EXEC, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.kube.podwait import NOT_YET, awaited
from provisioner.resources.model import Answer, Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

TRIES = 20
"""Seconds in which a server has to answer for the first time: a service's rules follow its pods."""
_LOOK = f"""
# Pods of other runs, that may be on their way out, are none of it.
what=pods,services
{KUBECTL_WAITING} -n {NAMESPACE} wait --for=condition=Ready --timeout=3s pod -l {LABEL}=RUN >/dev/null 2>&1 ||
  what=$what,events
{KUBECTL} -n {NAMESPACE} get "$what" -o json || exit 1
[ "$what" = pods,services ] || exit {NOT_YET}
"""


@dataclass(frozen=True)
class Addresses:
    """Where the servers are reached, by the name of their pods, and the service in front of one."""

    pods: dict[str, str]
    service: str


@dataclass(frozen=True)
class BenchPods:
    """Those of one `run`, on the nodes of its `placement`; `image` has the tools."""

    run: str
    image: str
    placement: Placement

    def set_up(self, runner: Runner) -> Addresses:
        """Once all of them run. What a killed run left is removed. Raises ProvisionError with what each one complains
        of."""
        objects = {"objects.json": Blob.of(list_json(bench_objects(self.run, self.image, self.placement)))}
        script = Script(f"{locked(clearing() + CREATED)} || exit 1\n{self._look}", objects)
        answer = awaited(
            lambda: runner.run(script, deadline=LOCK_SECONDS + 120),
            lambda: runner.run(Script(self._look), deadline=70),
            self._items,
            "the measurement",
        )
        if answer.status != 0:
            raise refused(_last(answer))
        return self._addresses(self._items(answer))

    def ask(self, runner: Runner, command: str, seconds: int) -> str:
        """What `command` prints in the pod that asks. While it says that it reaches nobody it is asked again, for a
        while. Raises ProvisionError when the pod is not there."""
        call = f"{KUBECTL_EXEC} -n {NAMESPACE} exec {CLIENT} -- timeout {seconds + SPEND} {command}"
        script = f"""
end=$(($(date +%s) + {TRIES}))
while :; do
  {call} >"$W/said" 2>"$W/why" || [ -s "$W/said" ] || {{ cat "$W/why" >&2; exit 1; }}
  grep -qE {quote(FAILED)} "$W/said" || break
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.5
done
cat "$W/said"
"""
        answer = runner.run(Script(script), deadline=2 * (seconds + SPEND) + TRIES + 60)
        if answer.status != 0:
            raise ProvisionError(f"the pod {CLIENT} could not be asked:\n{_last(answer)}")
        return answer.stdout.decode(errors="replace")

    def remove(self, runner: Runner) -> None:
        """Raises ProvisionError when something is left."""
        CheckPods(self.run, self.image).remove(runner)

    @property
    def _look(self) -> str:
        """Waits for a round, then prints pods and the service; while some pod does not run also what is told."""
        return _LOOK.replace("RUN", quote(self.run))

    def _items(self, answer: Answer) -> list[Item]:
        found: list[Item] = json.loads(answer.stdout)["items"]
        own = [item for item in found if (item["metadata"].get("labels") or {}).get(LABEL) == self.run]
        uids = {item["metadata"].get("uid") for item in own}
        told = (item for item in found if item["kind"] == "Event")
        return [*own, *(item for item in told if item["involvedObject"].get("uid") in uids)]

    def _addresses(self, items: Sequence[Item]) -> Addresses:
        pods = {
            item["metadata"]["name"]: [each["ip"] for each in item["status"].get("podIPs", ())]
            for item in items
            if item["kind"] == "Pod"
        }
        services = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "Service"}
        missing = [name for name in (CLIENT, *self.placement.servers) if name not in pods]
        if missing or SERVICE not in services:
            raise ProvisionError(
                f"pods of the measurement went away: {', '.join(missing) or SERVICE}",
                "who deletes them? the same command measures again",
            )
        return Addresses(
            {name: _ipv4(name, pods[name]) for name in self.placement.servers},
            services[SERVICE]["clusterIP"],
        )


def _ipv4(name: str, addresses: Sequence[str]) -> str:
    for each in addresses:
        if ":" not in each:
            return each
    raise ProvisionError(f"the pod {name} has no IPv4 address", "sockperf 3.7 measures over IPv4 alone")


def _last(answer: Answer) -> str:
    return "\n".join(answer.stderr.decode(errors="replace").strip().splitlines()[-12:])
