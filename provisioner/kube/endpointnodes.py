"""The gate of a cluster that others have built: its nodes are Ready, as who comes by the endpoint is told."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

SECONDS = 60
_PAUSE = 0.5
_READY = '.status.conditions[?(@.type=="Ready")]'
_ROW = (
    rf'{{range .items[*]}}{{.metadata.name}}{{"\t"}}{{{_READY}.status}}{{"\t"}}{{{_READY}.lastTransitionTime}}'
    r'{"\n"}{end}'
)


@dataclass(frozen=True)
class SeenNode:
    """`since`: when its condition Ready became what it is, in seconds since 1970; infinite where nobody says."""

    name: str
    ready: bool
    since: float


def nodes_ready(
    runner: Runner, endpoint: str, ours: Collection[str], began: float, warn: Callable[[str], None]
) -> str:
    """Waits for the nodes; `endpoint` is HOST:PORT, `ours` are the nodes of the inventory. Others that were not Ready
    when the run `began` (by time.monotonic) are none of its doing: they are left out, with a warning. Raises
    ProvisionError with those that are not Ready within a minute."""
    script = (
        f"date +%s\n{KUBECTL} --server={quote(f'https://{endpoint}')} get nodes -o jsonpath={quote(_ROW)}\n"
    )
    start, said, missing = time.monotonic(), "", list[str]()
    while True:
        answer = runner.run(Script(script), deadline=60)
        if answer.status == 0:
            now, nodes = parsed(answer.stdout.decode(errors="replace"))
            missing, left_out = judged(nodes, ours, now - (time.monotonic() - began))
            said = ", ".join(missing) or "there is no node"
            if nodes and not missing:
                return _passed(endpoint, len(nodes) - len(left_out), left_out, warn)
        else:
            said, missing = answer.stderr.decode(errors="replace").strip()[-1000:], []
        if time.monotonic() - start > SECONDS:
            break
        time.sleep(_PAUSE)
    raise ProvisionError(
        f"not all nodes are Ready after {time.monotonic() - start:.0f} s, asked at {endpoint}: {said}",
        "look at `journalctl -u kubelet` on those nodes" if missing else "does the API answer there?",
    )


def _passed(endpoint: str, count: int, left_out: Sequence[str], warn: Callable[[str], None]) -> str:
    if left_out:
        warn(
            f"{', '.join(left_out)}: not Ready since before this run, and no host of the inventory: left out"
        )
    return f"{count} nodes are Ready at {endpoint}" + (f", {len(left_out)} left out" if left_out else "")


def parsed(text: str) -> tuple[float, list[SeenNode]]:
    """The host's time, and the nodes. Raises ProvisionError for what is neither."""
    now, _, rows = text.partition("\n")
    try:
        return float(now), [_node(row) for row in rows.splitlines()]
    except ValueError:
        raise ProvisionError(f"nodes are told in words that are not understood: {text[:200]}") from None


def _node(row: str) -> SeenNode:
    name, ready, since = row.split("\t")
    moment = dt.datetime.fromisoformat(since).timestamp() if since else float("inf")
    return SeenNode(name, ready == "True", moment)


def judged(nodes: Sequence[SeenNode], ours: Collection[str], began: float) -> tuple[list[str], list[str]]:
    """The nodes that have to become Ready, and those that are left out: strangers that were not Ready when the run
    `began` (seconds since 1970)."""
    unready = [each for each in nodes if not each.ready]
    left_out = [each.name for each in unready if each.name not in ours and each.since < began]
    unknown = sorted(set(ours) - {each.name for each in nodes})
    return [*(each.name for each in unready if each.name not in left_out), *unknown], left_out
