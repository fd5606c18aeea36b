"""Two load balancers before three API servers: whatever happens to one of either, clients get on with the others."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from lab_cluster import BESIDE, LabCluster, Running, is_verified, own_lab, provision, restarted, until

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
VIP = f"{BESIDE.rpartition('.')[0]}.9"
BALANCERS = ("lb1", "lb2")
NO_SERVER = (
    "nft add table inet away && nft add chain inet away out '{ type filter hook output priority 0; }' &&"
    " nft add rule inet away out tcp dport 6443 ip daddr != 127.0.0.1 drop"
)
pytestmark = pytest.mark.soak


@dataclass
class Client:
    """Asks for /readyz by a new connection each 50 ms; `answers` are when that began and whether it went well."""

    answers: list[tuple[float, bool]] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def run(self) -> None:
        asking: list[Thread] = []
        while not self.over.wait(0.05):
            asking.append(Thread(target=self._ask))
            asking[-1].start()
        for each in asking:
            each.join()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            with socket.create_connection((VIP, 6443), timeout=2) as wire:
                # Whose certificate it is the gate has checked; this is about who answers.
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(wire) as tls:
                    tls.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                    self.answers.append((began, b" 200 OK" in tls.recv(100)))
        except OSError:
            self.answers.append((began, False))

    def ok_since(self, moment: float) -> int:
        """How many of the last requests in a row were answered, all of them begun after `moment`."""
        count = 0
        for began, well in sorted(self.answers, reverse=True):
            if began < moment or not well:
                break
            count += 1
        return count

    @property
    def failed(self) -> int:
        return sum(not well for _, well in self.answers)


@contextmanager
def a_client(lab: LabCluster) -> Iterator[Client]:
    """Beside the block, which begins once both load balancers lead to an API server."""
    lab.on("load_balancer", "until /opt/kubernetes/bin/api-health; do sleep 0.5; done; sleep 3")
    client = Client()
    thread = Thread(target=client.run)
    thread.start()
    try:
        until(lambda: client.ok_since(0) > 5, "an answer at the virtual address")
        yield client
    finally:
        client.over.set()
        thread.join()


@pytest.fixture(scope="module")
def balanced() -> Iterator[LabCluster]:
    with own_lab(f"balanced-{BESIDE.partition('/')[0].replace('.', '-')}", HA, BESIDE) as lab:
        done = lab.apply()
        assert is_verified(done), done
        tried = [(each["fault"], each["failed"] == 0) for each in done.named("FaultEnded")]
        assert tried == [
            ("keepalived stopped", True),
            ("nginx stopped", False),
            ("API servers out of reach", False),
        ], "the gate of new load balancers"
        yield lab


def holders(lab: LabCluster, among: str = "load_balancer") -> list[str]:
    said = lab.on(among, f"ip -4 -o addr show to {VIP}")
    return [host for host, line in said.items() if line]


def other(host: str) -> str:
    return BALANCERS[1 - BALANCERS.index(host)]


def fault(lab: LabCluster, host: str, what: str) -> None:
    done = provision("lab", "fault", lab.source, host, what, "--name", lab.name)
    assert done.status == 0, done


def test_a_second_apply_changes_nothing(balanced: LabCluster) -> None:
    before = balanced.invocations()
    done = balanced.apply()
    assert is_verified(done), done
    assert done.changed == set()
    assert restarted(before, balanced.invocations()) == set()
    assert len(holders(balanced)) == 1
    assert done.named("FaultBegun") == []


def test_status_tells_who_has_the_address(balanced: LabCluster) -> None:
    (holder,) = holders(balanced)

    def told() -> str:
        return provision("status", balanced.inventory).stdout

    said = told()
    assert "cluster ha: healthy" in said
    assert re.findall(rf"api-load-balancer +(\w+) +ok +has {re.escape(VIP)}", said) == [holder]
    balanced.on("load_balancer", NO_SERVER)
    said = told()
    assert "! api-load-balancer on lb1: no API server answers through it" in said
    until(lambda: f"! no load balancer has the virtual address {VIP}" in told(), "that nobody has it")
    balanced.on("load_balancer", "nft delete table inet away")
    until(lambda: len(holders(balanced)) == 1, "one that has it again")
    balanced.one(holder, "systemctl stop keepalived")
    assert f"keepalived on {holder} is inactive" in told()
    balanced.one(holder, "systemctl start keepalived")


def test_a_changed_configuration_is_read_without_a_restart(balanced: LabCluster) -> None:
    files = ("/etc/keepalived/keepalived.conf", "/etc/kubernetes/load-balancer/nginx.conf")
    before = balanced.invocations()
    balanced.on("load_balancer", f"sed -i '1s/^/# by hand\\n/' {' '.join(files)}")
    with a_client(balanced) as client:
        done = balanced.apply()
    assert is_verified(done), done
    assert {(host, resource) for host, resource, _ in done.changed} == {
        (host, resource)
        for host in BALANCERS
        for resource in (
            *(f"file:{each}" for each in files),
            "systemd:api-load-balancer.service",
            "systemd:keepalived.service",
        )
    }
    assert client.failed == 0
    assert done.named("FaultBegun") == []
    assert restarted(before, balanced.invocations()) == set()


def test_load_balancers_in_use_restart_one_after_the_other(balanced: LabCluster) -> None:
    unit = "api-load-balancer.service"
    change = (
        f"echo '# by hand' >>/etc/systemd/system/{unit}; systemctl daemon-reload; systemctl restart {unit}"
    )
    balanced.on("load_balancer", change)
    until(lambda: len(holders(balanced)) == 1, "one that has the address")
    done = balanced.apply()
    assert is_verified(done), done
    assert ("lb2", f"systemd:{unit}") in {(host, resource) for host, resource, _ in done.changed}
    # The hosts' monotonic clock is the machine's.
    show = f"systemctl show --value --property=InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic {unit}"
    times = {host: list(map(int, said.split())) for host, said in balanced.on("load_balancer", show).items()}
    assert max(times["lb1"]) < min(times["lb2"]), times
    assert done.named("FaultBegun") == [], "they were tried when they were new"


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        ("systemctl stop api-load-balancer", "systemctl start api-load-balancer"),
        (NO_SERVER, "nft delete table inet away"),
        ("systemctl stop keepalived", "systemctl start keepalived"),
    ],
    ids=["nginx stopped", "no API server reachable", "keepalived stopped"],
)
def test_a_load_balancer_that_leads_nowhere_hands_over(
    balanced: LabCluster, break_it: str, mend_it: str
) -> None:
    (holder,) = holders(balanced)
    with a_client(balanced) as client:
        balanced.one(holder, break_it)
        broken = time.monotonic()
        until(lambda: client.ok_since(broken) > 20, "answers from the other")
        assert holders(balanced) == [other(holder)]
        balanced.one(holder, mend_it)
        mended = time.monotonic()
        until(lambda: client.ok_since(mended) > 100, "answers all the time")
    assert holders(balanced) == [other(holder)], (
        "it does not come back by itself: that would be a second break"
    )
    if "keepalived" in break_it:
        assert client.failed == 0, "it says good-bye"


@pytest.mark.parametrize(("what", "mend"), [("power-off", "power-on"), ("cut", "heal")])
def test_a_load_balancer_that_is_gone_is_replaced(balanced: LabCluster, what: str, mend: str) -> None:
    (holder,) = holders(balanced)
    with a_client(balanced) as client:
        fault(balanced, holder, what)
        gone = time.monotonic()
        until(lambda: client.ok_since(gone) > 20, "answers from the other")
        assert holders(balanced, other(holder)) == [other(holder)]
        fault(balanced, holder, mend)
        back = time.monotonic()
        until(lambda: client.ok_since(back) > 100, "answers all the time")
    assert len(holders(balanced)) == 1


def serving(lab: LabCluster, host: str) -> set[str]:
    """The API servers that the load balancer sends clients to, by the last byte of their addresses."""
    lines = lab.one(host, "cat /run/api-load-balancer/servers.conf").splitlines()
    return {line.split()[1].partition(":")[0].rpartition(".")[2] for line in lines if " down;" not in line}


def test_an_api_server_that_hangs_is_left_out(balanced: LabCluster) -> None:
    """It takes connections and never answers; the address stays where it is."""
    before = holders(balanced)
    with a_client(balanced) as client:
        balanced.one("cp2", "systemctl kill -s STOP kube-apiserver")
        hung = time.monotonic()
        until(lambda: client.ok_since(hung + 5) > 100, "answers all the time")
        assert holders(balanced) == before
        assert {host: serving(balanced, host) for host in BALANCERS} == {
            each: {"11", "13"} for each in BALANCERS
        }
        balanced.one("cp2", "systemctl kill -s CONT kube-apiserver")
        back = time.monotonic()
        until(lambda: all("12" in serving(balanced, host) for host in BALANCERS), "that it serves again")
        until(lambda: client.ok_since(back) > 100, "answers all the time")
    assert holders(balanced) == before
    late = [began - hung for began, well in client.answers if not well]
    assert max(late, default=0) < 5, f"{len(late)} requests were lost: {late}"


AWAY = 12


def test_a_load_balancer_recovers_soon(balanced: LabCluster) -> None:
    """No API server was to be reached for long; once they are, it does not wait."""
    (host,) = set(BALANCERS) - set(holders(balanced))
    balanced.one(host, f"{NO_SERVER}; sleep {AWAY}; nft delete table inet away")
    began = time.monotonic()
    balanced.one(host, "until /opt/kubernetes/bin/api-health; do sleep 0.1; done")
    seconds = time.monotonic() - began
    assert seconds < AWAY, "the longer they were away, the longer it waits"


def test_an_api_server_that_dies_is_left_out(balanced: LabCluster) -> None:
    with a_client(balanced) as client:
        balanced.one("cp2", "systemctl kill -s KILL kube-apiserver")
        killed = time.monotonic()
        until(lambda: client.ok_since(killed) > 100, "answers all the time")
    assert len(holders(balanced)) == 1


KILLED, LEADER = "API server killed", "etcd leader's host lost"
FAILOVER = ("", "keepalived stopped", "nginx stopped", "API servers out of reach", "link cut", "powered off")


def test_verify_breaks_load_balancers_only_when_it_may(balanced: LabCluster) -> None:
    before = balanced.invocations()
    done = provision("verify", balanced.inventory, "--failover")
    assert done.status == 1
    assert "lb1, lb2: stops keepalived and nginx" in done.stderr
    assert "hint: add --yes to go ahead" in done.stderr
    assert restarted(before, balanced.invocations()) == set()


def test_verify_tells_what_clients_miss(balanced: LabCluster) -> None:
    boots = balanced.on("all", "cat /proc/sys/kernel/random/boot_id")
    done = provision("verify", balanced.inventory, "--failover", "--yes", "--json")
    report = done.only("FailoverEnded")
    found = {each["fault"]: each for each in report["faults"]}
    assert tuple(found) == (*FAILOVER, KILLED, LEADER), report["left_out"]
    assert found[KILLED]["failed"] <= 1, done
    assert found[LEADER]["failed"] == 0, done
    assert found[LEADER]["host"] in ("cp2", "cp3"), "not the one with the run's lock"
    assert report["ok"], done
    assert done.status == 0, done
    assert found[""]["failed"] == found["keepalived stopped"]["failed"] == 0
    for name, each in found.items():
        assert each["total"] >= 10, each
        assert each["failed"] <= each["total"], each
        assert each["kept"] == 4, each
        assert len(each["holders"]) == 1, each
        moved = name not in ("", KILLED, LEADER)
        assert each["host"] not in each["holders"] if name else True, each
        assert (each["broken"] == 4) if moved else (each["broken"] < 4), each
        assert each["outage"] > 1 or name in ("", "keepalived stopped", KILLED, LEADER), each
    after = balanced.on("all", "cat /proc/sys/kernel/random/boot_id")
    assert {host for host in boots if boots[host] != after[host]} == {
        found[name]["host"] for name in ("powered off", LEADER)
    }
    is_as_before(balanced)


@pytest.mark.parametrize("name", ["nginx stopped", "API servers out of reach", "link cut"])
def test_a_host_mends_itself_when_nobody_is_left_to_do_it(balanced: LabCluster, name: str) -> None:
    running = Running(("verify", str(balanced.inventory), "--failover", "--yes", "--json"))
    try:
        begun = running.await_event(lambda each: each["event"] == "FaultBegun" and each["fault"] == name)
        host = begun["host"]
        until(lambda: holders(balanced, other(host)) == [other(host)], "the other takes over")
    finally:
        running.abandon()
    healthy = "systemctl is-active -q keepalived && /opt/kubernetes/bin/api-health && echo well || :"
    until(
        lambda: provision("exec", balanced.inventory, host, "--", healthy).stdout.count("well") == 1,
        "it is well",
        45,
    )
    is_as_before(balanced)


def is_as_before(lab: LabCluster) -> None:
    """Nothing is left of faults, and nothing differs. What only looks at the address ends a while later."""
    left = "systemctl list-units --all --plain --no-legend provision-failover.service"
    left += "; nft list tables | grep failover || :"
    until(lambda: set(lab.on("load_balancer", left).values()) == {""}, "the faults' units are gone")
    assert {"default" in said for said in lab.on("load_balancer", "ip route show").values()} == {True}
    done = lab.apply()
    assert is_verified(done), done
    assert done.changed == set()
    assert len(holders(lab)) == 1
