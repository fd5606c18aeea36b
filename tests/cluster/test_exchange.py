"""What pods lose of each other is measured as it is: nothing, that they are replaced, and a link that is cut.

A busy machine may keep an answer beyond its second of patience, so what costs nothing is compared with the cut, and
nobody may have been refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations

import pytest
from lab_cluster import ADMIN, NODES, LabCluster, provision, until

from provisioner.action.connect import connect_to
from provisioner.action.exchange import Running, exchange_of, exchanging
from provisioner.action.load import Request, load
from provisioner.engine.events import ExchangeMeasured
from provisioner.inventory.model import load_inventory
from provisioner.kube.exchange_client import PATIENCE
from provisioner.lab.declared import plan_of
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import cut, heal

CUT_SECONDS = 6.0
PAIRS = set(permutations(NODES, 2))
LEFT = "ls -A /run/provision/exchange 2>/dev/null || :"
REFUSED = f"""
for each in /run/provision/exchange/*/*; do
  [ ! -f "$each" ] || awk '$3 == 0 && $2 - $1 < {PATIENCE / 2}' "$each"
done | wc -l
"""
"""How many requests failed of something else than a late answer."""
ROLL = f"""
{ADMIN} -n provision-exchange rollout restart deployment >/dev/null
{ADMIN} -n provision-exchange rollout status --timeout=60s deployment >/dev/null
{ADMIN} -n provision-exchange get pods -o name
"""


@pytest.fixture
def machines(cluster: LabCluster) -> Iterator[LabPlan]:
    """The lab, whose links are all up at the end."""
    plan = plan_of(load_inventory(cluster.inventory))
    yield plan
    heal(plan, "worker2")


@contextmanager
def exchange(cluster: LabCluster) -> Iterator[Running]:
    """Between the pods of all nodes, as a command that changes the network has it."""
    loaded = load(Request(cluster.inventory))
    with ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory))
        runner = pool.session(loaded.state_host)
        yield stack.enter_context(exchanging(exchange_of(loaded), pool, runner))


def refused(cluster: LabCluster) -> dict[str, str]:
    return cluster.on(":".join(NODES), REFUSED)


def shown(lost: ExchangeMeasured) -> str:
    return "\n".join(f"{each.source} {each.target} {each}" for each in lost.pairs)


def test_nothing_and_a_replacement_of_all_pods_cost_nothing_and_a_cut_what_it_lasts(
    cluster: LabCluster, machines: LabPlan
) -> None:
    with exchange(cluster) as running:
        before = refused(cluster)
        time.sleep(5)
        quiet = running.lost()
        assert {(each.source, each.target) for each in quiet.pairs} == PAIRS
        assert quiet.requests > len(PAIRS) * 5, "more than one a second"

        running = running.anew()
        pods = cluster.kubectl("-n provision-exchange get pods -o name").split()
        rolled_out = cluster.one("cp1", ROLL).split()
        assert not set(pods) >= set(rolled_out)
        time.sleep(7)
        rolled = running.lost()
        assert refused(cluster) == before

        running = running.anew()
        cut(machines, "worker2")
        time.sleep(CUT_SECONDS)
        heal(machines, "worker2")
        until(lambda: all(each.back for each in running.lost().pairs), "all pairs talk again")
        lost = running.lost()
        hit = [each for each in lost.pairs if "worker2" in (each.source, each.target)]
        assert min(each.gap for each in hit) > 0.8 * CUT_SECONDS, shown(lost)
        least = min(each.failed for each in hit)
        assert least > 10, shown(lost)
        for each in (*quiet.pairs, *rolled.pairs, *(each for each in lost.pairs if each not in hit)):
            assert each.gap < 0.5 * CUT_SECONDS, f"{each}\n{shown(lost)}"
        for measured in (quiet, rolled):
            assert measured.failed < least, f"all pairs together\n{shown(measured)}"
        assert "worker2" in (lost.pairs[0].source, lost.pairs[0].target), "who lost most comes first"
    assert set(cluster.on(":".join(NODES), LEFT).values()) == {""}
    assert cluster.kubectl("get namespace provision-exchange --ignore-not-found") == ""


def test_the_command_prints_and_reports_what_was_lost(cluster: LabCluster) -> None:
    cluster.kubectl("create namespace provision-exchange")  # of a run that was killed
    done = provision("bench", "exchange", cluster.inventory, "--seconds", "3", "--json")
    assert done.status == 0, done
    told = done.only("ExchangeMeasured")
    assert {(each["source"], each["target"]) for each in told["pairs"]} == PAIRS
    for what in ("requests", "failed"):
        assert told[what] == sum(each[what] for each in told["pairs"])
    assert told["requests"] > 60
    assert told["failed"] < told["requests"] / 2
    assert cluster.plan().status == 0, "it keeps nothing on hosts"
