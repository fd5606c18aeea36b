"""Labs on this machine, for real: up, mended, moved by power cuts, down. Needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provisioner.engine.events import Event, Note, Step, silent
from provisioner.errors import InputError, ProvisionError
from provisioner.lab import cgroups
from provisioner.lab.down import down
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import cut, heal, power_off, power_on
from provisioner.lab.status import status
from provisioner.lab.up import up

HOSTS = {"one": 11, "two": 12, "three.example": 13}
UP = """\
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from provisioner.engine.events import silent
from provisioner.lab.plan import LabPlan
from provisioner.lab.up import up
subnet = IPv4Network(sys.argv[2])
hosts = {name: subnet[int(number)] for name, number in (pair.split("=") for pair in sys.argv[3:])}
up(LabPlan("t", subnet, hosts, Path(sys.argv[1])), silent)
"""


def make_plan(directory: Path, third_octet: int) -> LabPlan:
    subnet = IPv4Network(f"10.97.{third_octet}.0/24")
    return LabPlan("t", subnet, {name: subnet[number] for name, number in HOSTS.items()}, directory)


def up_in_process(plan: LabPlan) -> subprocess.Popen[bytes]:
    pairs = [f"{name}={int(address) & 255}" for name, address in plan.hosts.items()]
    return subprocess.Popen([sys.executable, "-c", UP, str(plan.directory), str(plan.subnet), *pairs])


def ssh(plan: LabPlan, host: str, script: str) -> str:
    options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={plan.known_hosts}", "BatchMode=yes")
    argv = ["ssh", "-i", str(plan.key_file), *(word for option in options for word in ("-o", option))]
    done = subprocess.run(
        [*argv, f"root@{plan.hosts[host]}", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def namespaces() -> list[str]:
    return [path.name for path in Path("/run/netns").iterdir()]


def traces(plan: LabPlan) -> list[str]:
    """What can be found of a lab without the lab's own code."""
    mark, directory = f"pv-{plan.names.key}", str(plan.directory)
    found = [line for line in _output("ip", "-o", "link").splitlines() if mark in line]
    found += [str(path) for path in Path("/run/netns").glob(f"{mark}*")]
    # Not glob: folders of others vanish meanwhile.
    for root in ("/sys/fs/cgroup", "/run"):
        for folder, folders, files in os.walk(root):
            found += [f"{folder}/{name}" for name in (*folders, *files) if plan.names.key in name]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text() + (process / "mountinfo").read_text()
            if directory in words:
                found.append(f"{process}: {(process / 'cmdline').read_text()[:100]}")
    return found + ([directory] if plan.directory.exists() else [])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPlan]:
    plan = make_plan(tmp_path_factory.mktemp("lab") / "lab", 201)
    up(plan, silent)
    yield plan
    down(plan, silent)


@pytest.fixture
def whole(lab: LabPlan) -> LabPlan:
    """The lab, mended if a test before this one broke it."""
    up(lab, silent)
    return lab


def pids(plan: LabPlan) -> dict[str, int]:
    return {host.name: host.pid for host in status(plan).hosts}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_a_running_system(whole: LabPlan, host: str) -> None:
    assert ssh(whole, host, "systemctl is-system-running --wait; hostname").split() == ["running", host]


def test_hosts_reach_each_other(whole: LabPlan) -> None:
    for address in whole.hosts.values():
        ssh(whole, "one", f"ping -c 1 -W 2 {address}")


def test_modules_are_honest(whole: LabPlan) -> None:
    config = _output("zcat", "/proc/config.gz")
    for module, symbol in (
        ("br_netfilter", "BRIDGE_NETFILTER"),
        ("overlay", "OVERLAY_FS"),
        ("ip_vs", "IP_VS"),
    ):
        expected = "yes" if f"CONFIG_{symbol}=y" in config else "no"
        assert ssh(whole, "one", f"modprobe {module} 2>/dev/null && echo yes || echo no") == expected


def test_a_host_owns_its_network_settings(whole: LabPlan) -> None:
    assert (
        ssh(whole, "one", "sysctl -n -w net.bridge.bridge-nf-call-iptables=1 net.ipv4.ip_forward=1") == "1\n1"
    )
    ssh(whole, "one", "iptables -P FORWARD DROP && iptables -P FORWARD ACCEPT && test -d /sys/fs/bpf")


def test_containers_run_and_their_limits_are_real(whole: LabPlan) -> None:
    script = """
    mkdir -p /run/r; mount --bind / /run/r; trap 'umount /run/r' EXIT
    ctr run --rm --rootfs /run/r greeting /bin/echo hello
    ctr run --rm --memory-limit 33554432 --rootfs /run/r greedy /usr/bin/tail /dev/zero
    echo $?
    """
    assert ssh(whole, "one", script).split() == ["hello", "137"]


def test_runc_starts_what_the_kubelet_calls_guaranteed(whole: LabPlan) -> None:
    script = """set -e
    mkdir -p /run/g/rootfs; cd /run/g; rm -f config.json; runc spec
    sed -i 's/"terminal": true/"terminal": false, "oomScoreAdj": -997/; s/"sh"/"true"/' config.json
    mount --bind / rootfs; trap 'umount /run/g/rootfs' EXIT
    runc run --bundle /run/g guaranteed
    """
    ssh(whole, "one", script)


def test_nothing_serves_before_it_was_asked(whole: LabPlan) -> None:
    units = "nginx keepalived docker-registry containerd"
    states = ssh(whole, "one", f"systemctl is-enabled {units} || true").split()
    assert states == ["disabled", "disabled", "disabled", "enabled"]


def test_up_on_a_healthy_lab_changes_nothing(whole: LabPlan) -> None:
    before = pids(whole)
    events: list[Event] = []
    up(whole, events.append)
    assert [event.changed for event in events if isinstance(event, Step)] == [False]
    assert pids(whole) == before


def test_a_killed_host_comes_back_alone_on_its_own_disk(whole: LabPlan) -> None:
    before = pids(whole)
    ssh(whole, "two", "echo kept >/root/file && sync")
    os.kill(before["two"], signal.SIGKILL)
    _until(lambda: not status(whole).hosts[1].running)
    assert not status(whole).well
    up(whole, silent)
    after = pids(whole)
    assert {name for name in after if after[name] != before[name]} == {"two"}
    assert ssh(whole, "two", "cat /root/file") == "kept"


def test_a_killed_supervisor_is_mended(whole: LabPlan) -> None:
    for pid in cgroups.processes(cgroups.groups(whole.names.cgroup, "two", cgroups.WATCH)):
        os.kill(pid, signal.SIGKILL)
    _until(lambda: not status(whole).hosts[1].running)
    up(whole, silent)
    assert status(whole).well


def test_a_lost_link_is_mended(whole: LabPlan) -> None:
    subprocess.run(["ip", "-n", whole.names.namespace("one"), "link", "del", "eth0"], check=True)
    assert not status(whole).well
    up(whole, silent)
    assert status(whole).well


@pytest.mark.parametrize("command", [["ip", "netns", "del", "{switch}"], ["ip", "link", "del", "{uplink}"]])
def test_a_lost_switch_is_mended(whole: LabPlan, command: list[str]) -> None:
    names = whole.names
    subprocess.run([word.format(switch=names.switch, uplink=names.uplink) for word in command], check=True)
    up(whole, silent)
    assert status(whole).well
    ssh(whole, "one", f"ping -c 1 -W 2 {whole.hosts['two']}")


@pytest.mark.parametrize("fault", [cut, heal, power_on])
def test_no_host_of_a_lab_that_is_not_up_is_said_to_be_off(
    tmp_path: Path, fault: Callable[[LabPlan, str], None]
) -> None:
    plan = make_plan(tmp_path / "none", 250)
    with pytest.raises(ProvisionError, match="the lab t is not up") as caught:
        fault(plan, "one")
    assert caught.value.hint == "provision lab up inventory.yaml"


def test_power_off_and_on(whole: LabPlan) -> None:
    ssh(whole, "two", "echo before >/root/power && sync")
    power_off(whole, "two")
    found = {host.name: host.running for host in status(whole).hosts}
    assert found == {"one": True, "two": False, "three.example": True}
    assert whole.names.namespace("two") not in namespaces()
    power_off(whole, "two")
    power_on(whole, "two")
    assert ssh(whole, "two", "cat /root/power") == "before"
    pid = pids(whole)["two"]
    power_on(whole, "two")
    assert pids(whole)["two"] == pid


def test_a_reboot_makes_the_network_anew(whole: LabPlan) -> None:
    read = "cat /proc/sys/kernel/random/boot_id"
    before = ssh(whole, "one", read)
    ssh(whole, "one", "ip link add leftover type vxlan id 7 dstport 4789 dev eth0")
    subprocess.run(["nsenter", "-t", str(pids(whole)["one"]), "-a", "systemctl", "reboot"], check=True)
    _until(lambda: _quietly(whole, "one", read) not in ("", before))
    assert "leftover" not in ssh(whole, "one", "ip link")


def test_a_host_that_left_the_inventory_is_taken_away(whole: LabPlan) -> None:
    fewer = replace(whole, hosts={name: ip for name, ip in whole.hosts.items() if name != "two"})
    up(fewer, silent)
    assert whole.names.namespace("two") not in namespaces()
    assert {host.name: host.running for host in status(whole).hosts}["two"] is False


def test_a_taken_subnet_is_told_with_a_free_one(whole: LabPlan, tmp_path: Path) -> None:
    other = replace(whole, directory=tmp_path / "other")
    with pytest.raises(ProvisionError, match=whole.names.uplink) as caught:
        up(other, silent)
    assert "--subnet 10." in caught.value.hint
    assert traces(other) == []


def test_two_ups_at_once_wait_for_each_other(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "lab", 202)
    try:
        both = [up_in_process(plan), up_in_process(plan)]
        assert [process.wait(60) for process in both] == [0, 0]
        assert status(plan).well
    finally:
        down(plan, silent)


@pytest.mark.parametrize("delay", [0.12, 0.16, 0.2, 0.25, 0.3, 0.5, 0.9])
def test_after_a_killed_up_both_up_and_down_work(tmp_path: Path, delay: float) -> None:
    plan = make_plan(tmp_path / "lab", 203)
    for finish in (up, down):
        process = up_in_process(plan)
        time.sleep(delay)
        process.kill()
        process.wait()
        finish(plan, silent)
        assert finish is down or status(plan).well
    _until(lambda: not traces(plan))
    assert traces(plan) == []


def test_down_needs_no_memory_and_leaves_nothing(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "lab", 204)
    up(plan, silent)
    assert len(traces(plan)) > 10
    (plan.directory / "lab.json").unlink()
    assert down(replace(plan, hosts={}), silent) is True
    _until(lambda: not traces(plan))
    assert traces(plan) == []
    assert down(plan, silent) is False


def test_running_hosts_are_not_given_other_addresses(whole: LabPlan) -> None:
    before = pids(whole)
    elsewhere = make_plan(whole.directory, 206)
    for act in (lambda: up(elsewhere, silent), lambda: status(elsewhere)):
        with pytest.raises(InputError, match=r"run in 10\.97\.201\.0/24, and 10\.97\.206\.0/24"):
            act()
    assert pids(whole) == before
    assert status(whole).well


def test_down_says_that_there_was_no_lab(tmp_path: Path) -> None:
    events: list[Event] = []
    assert down(make_plan(tmp_path / "neverwas", 207), events.append) is False
    (event,) = events
    assert isinstance(event, Note)
    assert event.message.startswith("there is no lab neverwas (labs: ")


def test_two_labs_do_not_meet(whole: LabPlan, tmp_path: Path) -> None:
    other = make_plan(tmp_path / "lab", 205)
    before = pids(whole)
    try:
        up(other, silent)
        with ThreadPoolExecutor() as pool:
            names = list(pool.map(lambda plan: ssh(plan, "one", "ip -4 -br addr show eth0"), (whole, other)))
        assert "10.97.201.11" in names[0]
        assert "10.97.205.11" in names[1]
        ssh(other, "one", f"! ping -c 1 -W 1 {IPv4Address('10.97.201.11')}")
    finally:
        down(other, silent)
    assert pids(whole) == before
    assert status(whole).well


def _quietly(plan: LabPlan, host: str, script: str) -> str:
    try:
        return ssh(plan, host, script)
    except AssertionError:
        return ""


def _until(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
