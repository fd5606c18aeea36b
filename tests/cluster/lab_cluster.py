"""A cluster on a lab of its own, used from outside: by the command line, its JSON lines and its exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

Event = dict[str, Any]

PROVISION = Path(sys.executable).with_name("provision")
DEFAULT_LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = IPv4Network(os.environ.get("PROVISION_TEST_SUBNET", "10.98.34.0/24"))
SUBNET, BESIDE = (
    str(IPv4Network((int(_FIRST.network_address) + number * _FIRST.num_addresses, _FIRST.prefixlen)))
    for number in (_NUMBER, _NUMBER + 8)
)
"""Where the tests' lab is, and where those are that some tests need beside it; each process of pytest-xdist takes the
next ones. Two runs of the tests at once on one machine need two subnets, and room behind the first."""
ADMIN = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"
NODES = ("cp1", "worker1", "worker2")
HOSTS = ("registry1", *NODES)
_CALL_SECONDS = 240.0


@dataclass(frozen=True)
class Done:
    """A command of `provision` that ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @cached_property
    def events(self) -> list[Event]:
        """Every line of a `--json` run. Raises ValueError when one is no JSON object with an event's name."""
        found = [json.loads(line) for line in self.stdout.splitlines()]
        nameless = [event for event in found if "event" not in event]
        if nameless:
            raise ValueError(f"lines without an event's name: {nameless[:3]}")
        return found

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    def only(self, name: str) -> Event:
        """The one event of that name."""
        found = self.named(name)
        assert len(found) == 1, f"{len(found)} events {name}:\n{self}"
        return found[0]

    @property
    def changed(self) -> set[tuple[str, str, str]]:
        """(host, resource, action) of every change that was made."""
        return {(event["host"], event["resource"], event["action"]) for event in self.named("Changed")}

    def __str__(self) -> str:
        tail = "\n".join(self.stdout.splitlines()[-12:])
        return f"exit status {self.status} after {self.seconds:.1f} s\n{tail[-6000:]}\n{self.stderr[-3000:]}"


class Running:
    """A command of `provision --json` that still runs; its events are read while it does."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.began = time.monotonic()
        # Where the tests run in a shell's background, SIGINT is ignored, and children inherit that.
        argv = ["env", "--default-signal=INT", str(PROVISION), *words]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._seen: list[str] = []

    def await_event(self, wanted: Callable[[Event], bool]) -> Event:
        """Reads on until an event is `wanted`. Fails when the command ends before."""
        assert self.process.stdout
        for line in self.process.stdout:
            self._seen.append(line.decode())
            event: Event = json.loads(line)
            if wanted(event):
                return event
        raise AssertionError(f"it ended before the event came: {self.finish()}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands still while the block runs, so that it cannot end before the block does."""
        assert self.process.poll() is None, "it ended before it could be held"
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> Done:
        """SIGKILL, as by the machine's death."""
        self.process.kill()
        return self.finish()

    def finish(self, seconds: float = _CALL_SECONDS) -> Done:
        stdout, stderr = self.process.communicate(timeout=seconds)
        seconds = time.monotonic() - self.began
        return Done(self.process.returncode, "".join(self._seen) + stdout.decode(), stderr.decode(), seconds)

    def abandon(self) -> None:
        """For the end of a test, whatever happened in it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def provision(
    *words: str | Path, seconds: float = _CALL_SECONDS, env: Mapping[str, str] | None = None
) -> Done:
    """Runs `provision WORDS` to its end, which comes within `seconds`; in this environment, or one as ours."""
    began = time.monotonic()
    argv = [str(PROVISION), *map(str, words)]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=env,
    )
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@dataclass(frozen=True)
class LabCluster:
    """The hosts of a lab that was moved to the tests' subnet, and the cluster on them. `inventory` is its inventory,
    `admin` the administrator's kubectl on cp1."""

    name: str
    inventory: Path
    source: Path = DEFAULT_LAB
    subnet: str = SUBNET
    admin: str = ADMIN

    def up(self) -> None:
        """Raises AssertionError when it does not come up."""
        moved = ("--subnet", self.subnet, "--name", self.name)
        done = provision("lab", "up", self.source, *moved, "--json")
        assert done.status == 0, done
        assert Path(json.loads(done.stdout.splitlines()[-1])["inventory"]) == self.inventory

    def down(self) -> None:
        done = provision("lab", "down", self.source, "--name", self.name)
        assert done.status == 0, done

    def bare(self) -> None:
        """Takes care that the hosts are bare."""
        if self.one("cp1", "ls -d /var/lib/provision || :"):
            self.down()
            self.up()

    @property
    def folder(self) -> Path:
        return self.inventory.parent

    def address(self, host: str) -> str:
        number = {"registry1": 10, "cp1": 11, "worker1": 21, "worker2": 22}[host]
        return f"{self.subnet.rpartition('.')[0]}.{number}"

    def apply(self, *words: str | Path, inventory: Path | None = None) -> Done:
        return provision("apply", inventory or self.inventory, "--json", *words)

    def plan(self, *words: str | Path) -> Done:
        return provision("plan", self.inventory, "--json", *words)

    @contextmanager
    def applying(self, *words: str, inventory: Path | None = None) -> Iterator[Running]:
        """An `apply` beside the block; it does not outlive it."""
        running = Running(("apply", str(inventory or self.inventory), "--json", *words))
        try:
            yield running
        finally:
            running.abandon()

    def on(self, pattern: str, script: str) -> dict[str, str]:
        """What the script prints on each host of the pattern. Fails unless it succeeds everywhere."""
        done = provision("exec", self.inventory, pattern, "--json", "--", f"set -e\n{script}")
        assert done.status == 0, f"{script}\n{done}"
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return {answer["host"]: answer["stdout"].strip() for answer in answers}

    def one(self, host: str, script: str) -> str:
        return self.on(host, script)[host]

    def kubectl(self, words: str) -> str:
        """`kubectl WORDS` as the administrator on the control plane."""
        return self.one("cp1", f"{self.admin} {words}")

    def objects(self, words: str) -> list[dict[str, Any]]:
        """The items of `kubectl get WORDS`."""
        items: list[dict[str, Any]] = json.loads(self.kubectl(f"get {words} -o json"))["items"]
        return items

    def invocations(self) -> dict[str, str]:
        """InvocationID of each running service of each host, by "host/unit"; another one means a restart."""
        script = """
        units=$(systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1)
        for u in $units; do
          case $u in user@*) continue ;; esac
          echo "$u $(systemctl show --property=InvocationID --value -- "$u")"
        done"""
        found: dict[str, str] = {}
        for host, text in self.on("all", script).items():
            found |= {f"{host}/{unit}": number for unit, number in map(str.split, text.splitlines())}
        return found

    def pods(self) -> dict[str, tuple[str, int]]:
        """(uid, restarts) of every pod, by "namespace/name"."""
        return {
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": (
                pod["metadata"]["uid"],
                sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ())),
            )
            for pod in self.objects("pods -A")
        }

    def agnhost(self) -> str:
        """The reference by which nodes have the test image; a node's status learns of images late."""
        return self.one("cp1", "ctr --namespace k8s.io images list -q | grep '/agnhost[@:]' | head -n 1")

    def ready_nodes(self) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in self.objects("nodes")
            for each in node["status"].get("conditions", ())
            if (each["type"], each["status"]) == ("Ready", "True")
        }

    def edited(self, folder: Path, replacements: Mapping[str, str]) -> Path:
        """A copy of the inventory in `folder` with texts replaced; each must be there."""
        return edited(self.inventory, folder, replacements)


def edited(source: Path, folder: Path, replacements: Mapping[str, str]) -> Path:
    """A copy of an inventory in `folder` with texts replaced; each must be there."""
    text = source.read_text()
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "inventory.yaml"
    path.write_text(text)
    return path


def restarted(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """The units that were started, stopped or restarted between two readings of `invocations`."""
    return {unit for unit in before.keys() | after.keys() if before.get(unit) != after.get(unit)}


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Polls; fails with `what` when it did not come in time, of which a busy machine needs several times as much."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def served(cluster: LabCluster, node: str) -> str:
    """What a pod on the node answers to exec, after its logs were read; "" when either fails."""
    pod = f"$({ADMIN} -n kube-flannel get pods -o name --field-selector=spec.nodeName={node})"
    kubectl = f"{ADMIN} -n kube-flannel"
    script = (
        f"{kubectl} logs {pod} | grep -q . && {kubectl} exec {pod} -- /opt/bin/flanneld --version 2>&1 || :"
    )
    return cluster.one("cp1", script)


def left_of_the_check(cluster: LabCluster) -> list[str]:
    """What of the traffic check's is in its namespace, which is there all the time, and such namespaces beside it."""
    spaces = {each["metadata"]["name"] for each in cluster.objects("namespaces")}
    assert "provision-check" in spaces
    found = cluster.objects("pods,daemonsets,services -n provision-check")
    others = {name for name in spaces if name.startswith("provision-check-")}
    return sorted(others | {f"{each['kind']} {each['metadata']['name']}" for each in found})


def is_verified(done: Done) -> bool:
    """The run ended well, and it proved that pods talk."""
    gates = [event["gate"] for event in done.named("GatePassed")]
    return done.status == 0 and "traffic" in gates and bool(done.only("RunEnded")["ok"])


@contextmanager
def own_lab(name: str, source: Path = DEFAULT_LAB, subnet: str = SUBNET) -> Iterator[LabCluster]:
    """A lab with bare hosts, taken down at the end; what a killed run left goes first.

    With PROVISION_KEEP_LAB=1 it is kept, and one that was kept is taken as it is: quicker while a test is written.
    """
    from provisioner.inventory.labs import lab_directory

    lab = LabCluster(name, lab_directory(name) / "inventory.yaml", source, subnet)
    with Path(f"/run/lock/provision-{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError(
                f"another run of the tests uses the lab {name}; set PROVISION_TEST_SUBNET"
            ) from None
        keep = os.environ.get("PROVISION_KEEP_LAB") == "1"
        if not keep:
            lab.down()
        try:
            lab.up()
            yield lab
        finally:
            if not keep:
                lab.down()
