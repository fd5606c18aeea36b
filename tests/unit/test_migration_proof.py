"""Nothing of the former network goes before the new one has carried answers; who turns back is not kept by it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from migrations import CALICO, FLANNEL, change

from provisioner.action.exchange import Running
from provisioner.action.gates import leniently
from provisioner.action.migration import proof
from provisioner.action.migration.byplaybook import ByPlaybook
from provisioner.action.migration.running import Run
from provisioner.engine.events import Event, ExchangeMeasured, PairExchanged
from provisioner.engine.execute import Gate
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.remote.pool import Pool


@dataclass
class Heard:
    """Stands for pods that ask each other: what is heard of two pairs, look by look, the last one for ever."""

    looks: list[tuple[PairExchanged, ...]]
    seen: int = 0
    marked: int = 0
    fault: ProvisionError | None = None

    def anew(self) -> Heard:
        self.marked += 1
        if self.fault is not None:
            raise self.fault
        return self

    def lost(self) -> ExchangeMeasured:
        self.seen += 1
        pairs = self.looks[min(self.seen, len(self.looks)) - 1]
        return ExchangeMeasured(seconds=1.0, pairs=pairs, requests=0, failed=0, gap=0.0)


def pair(source: str, target: str, *, requests: int = 5, failed: int = 0, back: bool = True) -> PairExchanged:
    return PairExchanged(
        source=source, target=target, requests=requests, failed=failed, gap=0.0, began=0.0, back=back
    )


def run(heard: Heard, *, back: bool = False) -> Run:
    moved = change(FLANNEL, CALICO, back=back)
    pool = cast("Pool", None)
    return Run(
        moved,
        ByPlaybook(),
        pool,
        lambda _: None,
        ExitStack(),
        {},
        moved.target.inventory,
        cast("Running", heard),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_SECONDS", 0.2)
    monkeypatch.setattr(proof, "_ROUND", 0.01)


GOOD = pair("worker1", "worker2")
SILENT = [
    pair("worker2", "worker1", back=False),
    pair("worker2", "worker1", requests=0),
    pair("worker2", "worker1", failed=5),
]


@pytest.mark.parametrize("silent", SILENT)
def test_a_node_whose_pods_nobody_hears_of_is_the_last_one(silent: PairExchanged) -> None:
    heard = Heard([(GOOD, silent)])
    what = "worker2 from worker1; nothing of flannel has been taken away"
    with pytest.raises(ProvisionError, match=what):
        proof.check_all(run(heard))
    with pytest.raises(ProvisionError, match=what):
        proof.check_node(run(heard), "worker1")
    proof.check_node(run(heard), "cp1")
    proof.check_node(run(heard, back=True), "worker1")


@pytest.mark.parametrize("fault", [None, UnreachableError("worker2 is gone")])
def test_on_the_way_back_pods_are_told_to_go_on_and_nobody_asks_what_they_lost(
    fault: ProvisionError | None,
) -> None:
    heard = Heard([(SILENT[0],)], fault=fault)
    proof.check_node(run(heard, back=True), "worker1")
    assert (heard.marked, heard.seen) == (1, 0)


@pytest.mark.parametrize("silent", SILENT)
def test_it_waits_for_answers(silent: PairExchanged) -> None:
    heard = Heard([(silent,), (silent,), (GOOD,)])
    proof.check_node(run(heard), "worker2")
    assert heard.seen == 3


@pytest.mark.parametrize(
    ("how", "refused"),
    [({}, True), ({"begun": True}, False), ({"reverses": True}, False), ({"strategy": "all-at-once"}, False)],
)
def test_where_nobody_can_tell_whether_a_node_is_cut_off_none_is_moved(
    how: dict[str, Any], refused: bool
) -> None:
    deaf = replace(run(Heard([])), change=change(FLANNEL, CALICO, **how), exchange=None)
    with (
        pytest.raises(ProvisionError, match="the network has not been changed") if refused else nullcontext()
    ):
        proof.check_measured(deaf)
    proof.check_measured(replace(deaf, exchange=cast("Running", Heard([]))))


def test_a_run_that_goes_on_unmeasured_asks_after_each_node_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(*_: object) -> None:
        raise ProvisionError("pods of worker1 hear nothing")

    monkeypatch.setattr(proof, "exchange_of", silent)
    with pytest.raises(ProvisionError, match="hear nothing"):
        proof.check_node(replace(run(Heard([])), exchange=None), "worker1")
    proof.check_node(replace(run(Heard([]), back=True), exchange=None), "worker1")


@pytest.mark.parametrize("dual", [False, True])
def test_both_ip_families_are_asked_before_the_former_network_goes(
    monkeypatch: pytest.MonkeyPatch, dual: bool
) -> None:
    asked: list[list[str]] = []

    def check(_: str, nodes: dict[str, str], *__: str, **___: object) -> Callable[..., str]:
        asked.append(sorted(nodes))
        return lambda *_: ""

    monkeypatch.setattr(proof, "TrafficCheck", check)
    monkeypatch.setattr(proof, "exchange_of", lambda _: SimpleNamespace(image="agnhost"))
    monkeypatch.setattr(Run, "plane", None)
    here = run(Heard([(GOOD,)]))
    if dual:
        cidrs = {
            "pod_cidrs": ["10.244.0.0/16", "fd00:244::/56"],
            "service_cidrs": ["10.96.0.0/16", "fd00:96::/112"],
        }
        here = replace(here, change=change({**FLANNEL, **cidrs}, {**FLANNEL, **cidrs}))
    proof.check_all(here)
    assert asked == ([["cp1", "worker1", "worker2"]] if dual else [])


def test_gates_that_only_warn() -> None:
    told: list[Event] = []

    def fails() -> str:
        raise ProvisionError("pods do not talk")

    def is_gone() -> str:
        raise UnreachableError("worker1 is gone")

    gates: dict[str, Gate | None] = {"traffic": fails, "network_ready": fails, "pull": is_gone, "none": None}
    found = leniently(gates, {"traffic", "pull", "none"}, told.append)
    assert found["none"] is None
    assert found["network_ready"] is fails
    traffic, pull = found["traffic"], found["pull"]
    assert traffic
    assert pull
    assert traffic() == "does not hold"
    assert "traffic does not hold: pods do not talk" in str(told)
    with pytest.raises(UnreachableError):
        pull()
