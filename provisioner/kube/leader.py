"""Which member of etcd leads, that another takes over from it, and that one is back."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from provisioner.errors import ProvisionError
from provisioner.resources.model import Runner
from provisioner.shell.script import Script

BACK_SECONDS = 120
"""For a member whose host has just booted: etcd has that long to start (templates/etcd/etcd.service.j2)."""


@dataclass(frozen=True)
class Voter:
    """A member with a vote. `host` is what its URL for clients names, `identifier` in hex as etcdctl takes it."""

    identifier: str
    name: str
    host: str
    answers: bool
    leads: bool


def read_voters(runner: Runner, etcdctl: str) -> list[Voter]:
    """Asks the member on the host of `runner` for all of them. `etcdctl` is the command line for that host. Raises
    ProvisionError when there is no answer."""
    # The status fails as a whole when one member does not answer, and tells of the others even so.
    asked = (f"{etcdctl} member list -w json || exit", "echo", "echo '=='")
    script = "\n".join([*asked, f"{etcdctl} endpoint status --cluster -w json || :\n"])
    answer = runner.run(Script(script), deadline=60)
    if answer.status != 0:
        said = answer.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: etcd does not tell its members: {said}")
    return voters(answer.stdout.decode(errors="replace"))


def voters(text: str) -> list[Voter]:
    """From both answers. Raises ProvisionError for what is none."""
    listed, _, told = text.partition("\n==\n")
    try:
        status = [each["Status"] for each in json.loads(told.strip() or "[]")]
        leads = {
            each["header"]["member_id"]: each["header"]["member_id"] == each["leader"] for each in status
        }
        return [_voter(each, leads) for each in json.loads(listed)["members"] if not each.get("isLearner")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ProvisionError(
            f"etcd tells its members in words that are not understood: {text[:200]}"
        ) from None


def _voter(member: dict[str, Any], leads: dict[int, bool]) -> Voter:
    url = next(iter(member.get("clientURLs") or []), "")
    number = member["ID"]
    host = urlsplit(url).hostname or ""
    return Voter(f"{number:x}", member.get("name", ""), host, number in leads, leads.get(number, False))


def hand_over(runner: Runner, etcdctl: str, heir: Voter) -> None:
    """The member on the host of `runner`, which leads, hands over to `heir`. Raises ProvisionError."""
    answer = runner.run(Script(f"{etcdctl} move-leader {heir.identifier}\n"), deadline=60)
    if answer.status != 0:
        said = answer.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: etcd does not hand over to {heir.name}: {said}")


def await_member(runner: Runner, etcdctl: str) -> None:
    """Waits until the member on the host of `runner` answers. Raises ProvisionError."""
    began = time.monotonic()
    script = f"""\
end=$(($(date +%s) + {BACK_SECONDS}))
until {etcdctl} endpoint health >/dev/null 2>"$W/said"; do
  [ "$(date +%s)" -lt "$end" ] || {{ cat "$W/said" >&2; exit 1; }}
  sleep 0.3
done
"""
    answer = runner.run(Script(script), deadline=BACK_SECONDS + 30)
    if answer.status != 0:
        said = answer.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(
            f"{runner.host}: its member of etcd does not answer {time.monotonic() - began:.0f} s after the host is"
            f" back: {said}",
            f"see `journalctl -u etcd` on {runner.host}",
        )


def may_lose_one(members: Sequence[Voter]) -> bool:
    """Whether those that answer are a majority without one of them."""
    return sum(each.answers for each in members) - 1 >= len(members) // 2 + 1
