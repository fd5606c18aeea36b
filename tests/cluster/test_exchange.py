"""What pods lose of each other is measured as it is: nothing, that they are replaced, and a link that is cut."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations

import pytest
from lab_cluster import ADMIN, NODES, LabCluster, provision

from provisioner.action.connect import connect_to
from provisioner.action.exchange import Running, exchange_of, exchanging
from provisioner.action.load import Request, load
from provisioner.engine.events import ExchangeMeasured
from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import cut, heal

CUT_SECONDS = 3.0
PAIRS = set(permutations(NODES, 2))
LEFT = "ls -A /run/provision/exchange 2>/dev/null || :"
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


def shown(lost: ExchangeMeasured) -> str:
    return "\n".join(f"{each.source} {each.target} {each}" for each in lost.pairs)


def test_nothing_and_a_replacement_of_all_pods_cost_nothing_and_a_cut_what_it_lasts(
    cluster: LabCluster, machines: LabPlan
) -> None:
    with exchange(cluster) as running:
        time.sleep(5)
        quiet = running.lost()
        assert {(each.source, each.target) for each in quiet.pairs} == PAIRS
        assert quiet.failed == 0, shown(quiet)
        assert quiet.gap < 1, shown(quiet)
        assert quiet.requests > 6 * 5 * 5

        running = running.anew()
        before = cluster.kubectl("-n provision-exchange get pods -o name").split()
        after = cluster.one("cp1", ROLL).split()
        assert not set(before) >= set(after)
        time.sleep(7)
        rolled = running.lost()
        assert rolled.failed == 0, shown(rolled)
        assert rolled.gap < 1, shown(rolled)

        running = running.anew()
        cut(machines, "worker2")
        time.sleep(CUT_SECONDS)
        heal(machines, "worker2")
        time.sleep(5)
        lost = running.lost()
        for each in lost.pairs:
            if "worker2" in (each.source, each.target):
                assert CUT_SECONDS - 0.2 < each.gap < CUT_SECONDS + 2, shown(lost)
                assert each.failed > 10, shown(lost)
                assert each.back
            else:
                assert each.failed == 0, shown(lost)
                assert each.gap < 1, shown(lost)
        assert "worker2" in (lost.pairs[0].source, lost.pairs[0].target), "who lost most comes first"
    assert set(cluster.on(":".join(NODES), LEFT).values()) == {""}
    assert cluster.kubectl("get namespace provision-exchange --ignore-not-found") == ""


def test_the_command_prints_and_reports_what_was_lost(cluster: LabCluster) -> None:
    cluster.kubectl("create namespace provision-exchange")  # of a run that was killed
    done = provision("bench", "exchange", cluster.inventory, "--seconds", "3", "--json")
    assert done.status == 0, done
    told = done.only("ExchangeMeasured")
    assert {(each["source"], each["target"]) for each in told["pairs"]} == PAIRS
    assert (told["failed"], told["requests"] > 60) == (0, True)
    assert cluster.plan().status == 0, "it keeps nothing on hosts"
