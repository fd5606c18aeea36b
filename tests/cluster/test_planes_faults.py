"""One fault amid a run in which a control plane joins, or nodes take another address of the API server: after the next
apply all is well. The faults are drawn from a seed, a hundred of them; `-k case0` takes the first ten."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab_cluster import BESIDE, LabCluster, Running, is_verified, own_lab, provision
from test_planes import HA, NET, PLANES, SERVERS, WORKERS, declared, whole

from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import cut, heal, power_off, power_on

pytestmark = pytest.mark.soak
COUNT = 100
FAULTS = ("killed controller", "killed process", "power off", "link cut", "full disk")
HOSTS = ("cp1", "cp2", "cp3", "lb1", "lb2", "worker1", "worker2")
UNITS = {
    "cp": ("etcd", "kube-apiserver", "kube-controller-manager", "kubelet", "containerd"),
    "lb": ("api-load-balancer", "keepalived"),
    "wo": ("kubelet", "containerd", "kube-proxy"),
}


@dataclass(frozen=True)
class Case:
    """`part`: of the changes of an undisturbed run, after which the fault comes; `folder`: what a full disk holds."""

    number: int
    joins: bool
    fault: str
    host: str
    unit: str
    part: float
    folder: str

    @property
    def name(self) -> str:
        where = "" if self.fault == "killed controller" else f" of {self.host}"
        what = f"{self.fault} {self.unit}" if self.fault == "killed process" else self.fault
        what += f" with {self.folder}" if self.fault == "full disk" else ""
        return f"case{self.number:02}: {'join' if self.joins else 'switch'}, {what}{where} at {self.part:.0%}"


def drawn(number: int) -> Case:
    chance = random.Random(number)  # noqa: S311  moments, not secrets
    joins = number % 2 == 0
    host = chance.choice(HOSTS)
    return Case(
        number=number,
        joins=joins,
        fault=FAULTS[number // 2 % len(FAULTS)],
        host=host,
        unit=chance.choice(UNITS[host[:2]]),
        part=round(chance.random() * 0.95, 2),
        folder=chance.choice(("/var/lib/provision", "/etc/kubernetes")),
    )


@pytest.fixture(scope="module")
def planes() -> Iterator[LabCluster]:
    with own_lab(f"faults-{BESIDE.partition('/')[0].replace('.', '-')}", HA, BESIDE) as lab:
        # etcd's members are all to know of each other before one starts: not all of them do, here.
        with lab.applying() as running:
            running.await_event(lambda event: event.get("resource", "").startswith("etcd_seed:"))
            running.kill()
        done = lab.apply()
        assert is_verified(done), done
        yield lab


# Where what is done there is written down, or what is to be changed lies.
FULL = """
mkdir -p FOLDER /run/kept && cp -a FOLDER/. /run/kept/
mount -t tmpfs -o size=4m,mode=755 tmpfs FOLDER
cp -a /run/kept/. FOLDER/
cat /dev/zero >FOLDER/filler 2>/dev/null || :
"""
EMPTIED = """
mountpoint -q FOLDER || exit 0
rm -f FOLDER/filler
rm -rf /run/kept && mkdir -p /run/kept && cp -a FOLDER/. /run/kept/
umount -l FOLDER
rm -rf FOLDER/* && cp -a /run/kept/. FOLDER/ && rm -rf /run/kept
"""


def break_it(case: Case, lab: LabCluster, plan: LabPlan, running: Running, mends: ExitStack) -> None:
    """What undoes it is added to `mends`."""
    actions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "killed controller": (running.process.kill, lambda: None),
        "killed process": (lambda: lab.one(case.host, f"systemctl kill -s KILL {case.unit}"), lambda: None),
        "power off": (lambda: power_off(plan, case.host), lambda: power_on(plan, case.host)),
        "link cut": (lambda: cut(plan, case.host), lambda: heal(plan, case.host)),
        "full disk": (
            lambda: lab.one(case.host, FULL.replace("FOLDER", case.folder)),
            lambda: lab.one(case.host, EMPTIED.replace("FOLDER", case.folder)),
        ),
    }
    act, mend = actions[case.fault]
    mends.callback(mend)
    act()


def prepared(case: Case, lab: LabCluster) -> Path:
    """The inventory to be applied, in which something is to be done."""
    if case.joins:
        done = provision("remove", lab.inventory, "cp3", "--yes", "--json")
        assert done.status == 0, done
        return lab.inventory
    at_virtual = f"{NET}.9:" in lab.one("worker1", SERVERS)
    return declared(lab, "direct", endpoint=f"{NET}.12") if at_virtual else lab.inventory


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in map(drawn, range(COUNT))])
def test_after_a_fault_the_next_apply_makes_it_well(planes: LabCluster, case: Case) -> None:
    if case.joins and f"{NET}.9:" not in planes.one("worker1", SERVERS):
        whole(planes, planes.apply("--yes"))
    inventory = prepared(case, planes)
    plan = plan_of(load_inventory(planes.inventory))
    count = int(case.part * len(provision("plan", inventory, "--json").only("Plan")["changes"]))
    with ExitStack() as mends, planes.applying("--yes", inventory=inventory) as running:
        for _ in range(count):
            running.await_event(lambda event: event["event"] == "Changed")
        break_it(case, planes, plan, running, mends)
        broken = running.finish()
    done = planes.apply("--yes", inventory=inventory)
    assert is_verified(done), f"{done}\nafter:\n{broken}"
    whole(planes, done)
    again = provision("plan", inventory, "--json")
    assert again.status == 0, f"{again}\nafter:\n{broken}\nand then:\n{done}"
    assert planes.ready_nodes() == {*PLANES, *WORKERS}
