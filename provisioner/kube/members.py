"""The members of etcd, seen from one of their hosts, and whether one of them may leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.etcdctl import OWN, etcdctl
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.worklock import locked


@dataclass(frozen=True)
class Member:
    """`identifier` is in hex, as etcdctl takes it. `votes`: it is no learner. `client` is its URL for clients, "" as
    long as it has never started; `healthy`: it answers there."""

    identifier: str
    name: str
    peer: str
    client: str
    votes: bool
    healthy: bool


def read_members(runner: Runner) -> list[Member]:
    """Asks the member on the host of `runner`. Raises ProvisionError when the cluster does not answer."""
    ctl = etcdctl([OWN], seconds=10)
    # `endpoint health` fails as a whole when one member does not answer, and tells of all of them even so.
    script = f"{ctl} member list -w json\necho\necho '=='\n{ctl} endpoint health --cluster -w json 2>/dev/null || :\n"
    listed, _, health = ask(runner, script).decode().partition("\n==\n")
    well = {each["endpoint"] for each in json.loads(health.strip() or "[]") if each["health"]}
    return [
        Member(
            identifier=f"{each['ID']:x}",
            name=each.get("name", ""),
            peer=next(iter(each.get("peerURLs", [])), ""),
            client=next(iter(each.get("clientURLs", [])), ""),
            votes=not each.get("isLearner", False),
            healthy=bool(well & set(each.get("clientURLs", []))),
        )
        for each in json.loads(listed)["members"]
    ]


def check_majority(members: Sequence[Member], leaving: Member) -> None:
    """Raises ProvisionError when etcd could not decide that `leaving` leaves, or nothing any more after that."""
    name, voters = leaving.name or leaving.peer, [each for each in members if each.votes]
    left = [each for each in voters if each != leaving]
    if not leaving.votes:
        return
    if not left:
        raise ProvisionError(
            f"{name} is the only member of etcd: the cluster would lose all that it knows",
            "let another one join before, by adding a host to the group etcd",
        )
    for those, when in ((voters, "now"), (left, "without it")):
        well = [each.name for each in those if each.healthy]
        if len(well) < len(those) // 2 + 1:
            ill = [each.name or each.peer for each in those if not each.healthy]
            others = [each for each in ill if each != name]
            raise ProvisionError(
                f"{name} cannot leave etcd: {len(well)} of the {len(those)} members {when} answer, which is no"
                f" majority ({', '.join(ill)} {'does' if len(ill) == 1 else 'do'} not)",
                "bring those back, or remove them, before this one"
                if others
                else "bring it back: without it nobody can decide that it leaves (a backup of etcd is the other way)",
            )


def remove_member(runner: Runner, members: Sequence[Member], leaving: Member) -> None:
    """Takes `leaving` out of the cluster. A leader hands over before. Raises ProvisionError when etcd refuses."""
    heir = next(each for each in members if each.votes and each.healthy and each != leaving)
    hand_over = f"{etcdctl([leaving.client])} move-leader {quote(heir.identifier)} >/dev/null 2>&1 || :\n"
    left = f"{etcdctl()} member remove {quote(leaving.identifier)}"
    lines = (hand_over if leaving.healthy else "") + _PATIENT.format(left=left, seconds=_SETTLED)
    ask(runner, locked(lines) + "\n")


_SETTLED = 30
"""Seconds: etcd removes nobody while the connection to a member that answers is less than 5 s old, as after its boot
(etcd, server/etcdserver/server.go, HealthInterval)."""
_PATIENT = """\
end=$(($(date +%s) + {seconds}))
until {left} >/dev/null 2>"$P/said"; do
  if ! grep -q 'unhealthy cluster' "$P/said" || [ "$(date +%s)" -ge "$end" ]; then
    cat "$P/said" >&2
    exit 1
  fi
  sleep 1
done
"""
