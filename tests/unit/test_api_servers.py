"""The watch that decides to which API servers nginx hands clients on. It asks for real; systemd is played."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from readyserver import SETPRIV, ReadyServer, ready_server

from provisioner.pki.authority import new_authority
from provisioner.playbook.render import render_file
from provisioner.spec.load import load_cluster

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates/load-balancer"
CA = new_authority("kubernetes")
PROGRAM = "/opt/kubernetes/bin/api-servers"
PLAYED = {"/run/api-load-balancer": "run", "setpriv": "setpriv", "sleep 1": "tick", "/proc/uptime": "uptime"}
TICK = '#!/bin/sh\n: >"${0%/*}/waits"\nwhile [ -e "${0%/*}/waits" ]; do sleep 0.005; done\n'


def commands(word: str, folder: Path) -> str:
    """Those of the unit's lines `word`, with `program` for ours; nginx tells what it reads when it is asked to."""
    os_variables = {"nginx_stream_module": "/no/module"}
    known = {"os": os_variables, "folder": "/etc/x", "facts": {"selinux": False}}
    unit = render_file(TEMPLATES / "api-load-balancer.service.j2", known)
    found = re.findall(rf"^{word}=(.*)$", unit, re.MULTILINE)
    lines = [each.replace(PROGRAM, f"{folder}/program") for each in found if "nginx -t" not in each]
    return "\n".join(each if "kill -HUP" not in each else "cp run/servers.conf has" for each in lines)


@dataclass
class Watch:
    """It waits after each round. `has` is what nginx has read."""

    folder: Path
    servers: list[ReadyServer]
    process: subprocess.Popen[bytes]

    def round(self, count: int = 1) -> None:
        for _ in range(count):
            (self.folder / "waits").unlink()
            self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while not (self.folder / "waits").exists():
            assert self.process.poll() is None, "it ended"
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def after(self, seconds: float) -> None:
        """The clock of the machine goes on."""
        now = float((self.folder / "uptime").read_text().split()[0]) + seconds
        (self.folder / "uptime").write_text(f"{now:.2f} 1.00\n")

    @property
    def serving(self) -> list[int]:
        """The numbers of those that nginx sends clients to."""
        ports = re.findall(
            r"^server 127.0.0.1:(\d+) (?!down)", (self.folder / "has").read_text(), re.MULTILINE
        )
        return [number for number, each in enumerate(self.servers) if str(each.port) in ports]

    @property
    def reloads(self) -> int:
        return (self.folder / "reloads").read_text().count("\n")


def laid(folder: Path, shell: str, servers: list[ReadyServer]) -> None:
    """The program, what it calls, and an nginx that has begun."""
    for name, text in {
        "setpriv": SETPRIV,
        "tick": TICK,
        "systemctl": f"""#!/bin/sh
echo "$*" >>{folder}/reloads
cd {folder} && set -e
{commands("ExecReload", folder).replace("cp run", "[ ! -e dies ] || exit 1; cp run")}
""",
        "program": f"#!/bin/sh\nexec {shell} {folder}/script $*\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    variables = {
        "folder": folder,
        "cluster": load_cluster(ROOT / "inventories/ha.yaml")[1],
        "api_server": "https://192.0.2.9:6443",
    }
    script = render_file(TEMPLATES / "api-servers.j2", variables)
    for real, played in PLAYED.items():
        assert real in script
        script = script.replace(real, f"{folder}/{played}")
    (folder / "script").write_text(script)
    (folder / "ca.crt").write_text(CA.cert)
    (folder / "servers").write_text("".join(f"127.0.0.1:{each.port}\n" for each in servers))
    (folder / "reloads").touch()
    (folder / "uptime").write_text("1000.00 1.00\n")
    (folder / "run").mkdir()
    start(folder)


def start(folder: Path) -> None:
    """As systemd starts nginx."""
    lines = [commands("ExecStartPre", folder), "cp run/servers.conf has", commands("ExecStartPost", folder)]
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=folder, check=True)


@pytest.fixture(params=["dash", "busybox sh"])
def watch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watch]:
    with ExitStack() as stack:
        servers = [stack.enter_context(ready_server(tmp_path, CA, ["192.0.2.9"])) for _ in range(3)]
        laid(tmp_path, request.param, servers)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        argv = [str(tmp_path / "program"), "watch"]
        with subprocess.Popen(argv, env=environment, start_new_session=True) as process:
            found = Watch(tmp_path, servers, process)
            try:
                found.wait()
                yield found
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def test_who_fails_twice_in_a_row_is_left_out_at_once(watch: Watch) -> None:
    assert (watch.serving, watch.reloads) == ([0, 1, 2], 0)
    watch.servers[1].ready = False
    watch.round()
    watch.servers[1].ready = True
    watch.round()
    watch.servers[1].ready = False
    watch.round()
    assert watch.reloads == 0
    watch.round()
    assert (watch.serving, watch.reloads) == ([0, 2], 1)
    assert (watch.folder / "reloads").read_text() == "try-reload-or-restart api-load-balancer\n"


def test_where_none_is_ready_all_stay(watch: Watch) -> None:
    for each in watch.servers:
        each.ready = False
    watch.round(3)
    assert (watch.serving, watch.reloads) == ([0, 1, 2], 0)


def test_a_reload_that_ends_halfway_is_done_again(watch: Watch) -> None:
    """The list is written by then, and nginx does not know it."""
    watch.servers[1].ready = False
    (watch.folder / "dies").touch()
    watch.round(3)
    assert (watch.serving, watch.reloads) == ([0, 1, 2], 2)
    (watch.folder / "dies").unlink()
    watch.round()
    assert (watch.serving, watch.reloads) == ([0, 2], 3)
    watch.round()
    assert watch.reloads == 3


def test_what_a_start_of_nginx_reads_counts(watch: Watch) -> None:
    watch.servers[1].ready = False
    (watch.folder / "dies").touch()
    watch.round(2)
    start(watch.folder)
    watch.round()
    assert (watch.serving, watch.reloads) == ([0, 2], 1)


def test_who_comes_back_has_answered_three_times_in_a_row(watch: Watch) -> None:
    watch.servers[1].ready = False
    watch.round(2)
    watch.after(60)
    watch.servers[1].ready = True
    watch.round(2)
    watch.servers[1].ready = False
    watch.round()
    watch.servers[1].ready = True
    watch.round(2)
    assert (watch.serving, watch.reloads) == ([0, 2], 1)
    watch.round()
    assert (watch.serving, watch.reloads) == ([0, 1, 2], 2)
    watch.servers[1].ready = False
    watch.round(2)
    assert (watch.serving, watch.reloads) == ([0, 2], 3), "it is as new"


def test_a_reload_that_only_brings_back_waits(watch: Watch) -> None:
    """Each leaves workers behind for as long as their connections last."""
    watch.servers[1].ready = False
    watch.round(2)
    watch.servers[1].ready = True
    watch.after(9)
    watch.round(4)
    assert (watch.serving, watch.reloads) == ([0, 2], 1)
    watch.after(1)
    watch.round()
    assert (watch.serving, watch.reloads) == ([0, 1, 2], 2)


def test_one_that_leaves_out_does_not_wait_and_brings_back_too(watch: Watch) -> None:
    watch.servers[1].ready = False
    watch.round(2)
    watch.servers[1].ready = True
    watch.round(3)
    assert watch.serving == [0, 2]
    watch.servers[2].ready = False
    watch.round(2)
    assert (watch.serving, watch.reloads) == ([0, 1], 2)


def test_the_only_one_is_not_shut_for_a_failed_connection(watch: Watch) -> None:
    """nginx forgives only where the list has no other at all (ngx_stream_upstream_module, max_fails)."""

    def limits() -> list[str]:
        return [line.partition(" max_")[2] for line in (watch.folder / "has").read_text().splitlines()]

    assert limits() == ["fails=1 fail_timeout=3s;"] * 3
    watch.servers[1].ready = False
    watch.round(2)
    assert limits() == ["fails=1 fail_timeout=3s;", "", "fails=1 fail_timeout=3s;"]
    watch.servers[0].ready = False
    watch.round(2)
    assert limits() == ["", "", "fails=0;"]
    watch.servers[2].ready = False
    watch.round(2)
    assert limits() == ["fails=1 fail_timeout=3s;"] * 3, "all, since none is ready"


def test_nothing_but_the_watch_makes_its_folders(tmp_path: Path) -> None:
    """systemd has made the other, and a list is there as a whole or not at all."""
    laid(tmp_path, "dash", [ReadyServer(1), ReadyServer(2)])
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"servers.conf", "servers.loaded"}


def test_a_cluster_with_one_has_an_only_one(tmp_path: Path) -> None:
    laid(tmp_path, "dash", [ReadyServer(1)])
    assert (tmp_path / "has").read_text() == "server 127.0.0.1:1 max_fails=0;\n"
