"""Every base kind on a real host, through `provision apply --playbook`: made, drifted, mended, and a killed run."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

ADDRESS = "10.98.31.11"
INVENTORY = f"""\
all:
  vars:
    lab: {{name: kinds, subnet: 10.98.31.0/24}}
    ansible_user: root
  hosts:
    one: {{ansible_host: {ADDRESS}}}
"""
BOOK = """\
- name: everything
  hosts: all
  tasks:
    - file: {path: "/srv/it's here", state: directory, mode: "0750"}
    - file: {path: /srv/link, state: link, src: it's here}
    - copy: {dest: "/srv/it's here/$a *.conf", content: "a\\n", mode: "0640", group: adm}
    - copy: {dest: /srv/large, src: large}
    - copy: {dest: /srv/password, content: "{{ lookup }}", secret: true}
    - template: {dest: /etc/sleeper.conf, src: sleeper.conf.j2}
    - template: {dest: /etc/systemd/system/sleeper.service, src: sleeper.service.j2}
    - unarchive: {src: things.tgz, dest: /srv/things, owner: daemon}
    - sysctl: {values: {net.ipv4.ip_local_port_range: "20000 60999", net.ipv4.ip_forward: 1}}
    - modprobe: {name: overlay}
    - user: {name: ops, shell: /bin/sh, groups: [adm], create_home: true}
    - package: {name: provision-test}
    - command: {cmd: "date >made && echo \\"$HOME\\"", creates: /srv/made, chdir: /srv}
    - absent_paths: {paths: ["/srv/unwanted/*.tmp"]}
    - systemd_service: {name: sleeper, inputs: [/etc/sleeper.conf]}
  vars: {lookup: hunter2, word: one}
"""
UNIT = """\
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
REPOSITORY = r"""
set -eu
mkdir -p /srv/deb/pkg/DEBIAN /srv/unwanted
printf 'Package: provision-test\nVersion: 1\nArchitecture: all\nMaintainer: test <t@example.org>\nDescription: test\n' \
  >/srv/deb/pkg/DEBIAN/control
cd /srv/deb
dpkg-deb -b pkg one.deb >/dev/null
{ cat pkg/DEBIAN/control; echo "Filename: ./one.deb"; echo "Size: $(stat -c %s one.deb)"
  echo "SHA256: $(sha256sum one.deb | cut -d' ' -f1)"; } >Packages
echo 'deb [trusted=yes] file:/srv/deb ./' >/etc/apt/sources.list
rm -rf /var/lib/apt/lists/*
apt-get -q update >/dev/null
"""


@dataclass(frozen=True)
class Host:
    """The lab's host, with `provision` and with plain ssh."""

    folder: Path
    environment: dict[str, str]

    def provision(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def argv(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("provision")), *words]

    def apply(self, *, status: int = 0) -> str:
        return self.provision("apply", self.inventory, "--playbook", self.book, "--yes", status=status)

    def plan(self) -> dict[str, list[str]]:
        """Keys (or the action) by resource."""
        words = ("plan", self.inventory, "--playbook", self.book, "--json")
        done = subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        events = [json.loads(line) for line in done.stdout.splitlines()]
        (plan,) = [event for event in events if event["event"] == "Plan"]
        assert done.returncode == (2 if plan["changes"] else 0), done.stderr
        assert "hunter2" not in done.stdout + done.stderr
        return {
            each["resource"]: each["keys"] if each["action"] == "update" else [each["action"]]
            for each in plan["changes"]
        }

    def ssh(self, script: str) -> str:
        lab = self.folder / "state/provision/labs/kinds"
        argv = [
            "ssh",
            "-i",
            str(lab / "id_ed25519"),
            "-o",
            f"UserKnownHostsFile={lab / 'known_hosts'}",
            "-o",
            "BatchMode=yes",
        ]
        done = subprocess.run(
            [*argv, f"root@{ADDRESS}", script], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def invocation(self) -> str:
        return self.ssh("systemctl show -p InvocationID --value sleeper")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    @property
    def inventory(self) -> str:
        return str(self.folder / "inventory.yaml")

    @property
    def book(self) -> str:
        return str(self.folder / "book.yaml")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("kinds")
    one = Host(folder, {**os.environ, "XDG_STATE_HOME": str(folder / "state")})
    one.write("inventory.yaml", INVENTORY)
    for name in ("files", "templates"):
        (folder / name).mkdir()
    (folder / "files" / "large").write_bytes(os.urandom(3_000_001))
    with tarfile.open(folder / "files" / "things.tgz", "w:gz") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("folder/file", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            tar.addfile(info, io.BytesIO())
    one.provision("lab", "up", one.inventory)
    try:
        one.ssh(REPOSITORY)
        yield one
    finally:
        one.provision("lab", "down", one.inventory)


@pytest.fixture
def ready(host: Host) -> Host:
    """The host as the book wants it."""
    host.write("book.yaml", BOOK)
    host.write("templates/sleeper.conf.j2", "word={{ word }}\n")
    host.write("templates/sleeper.service.j2", UNIT)
    host.apply()
    assert host.plan() == {}
    return host


def test_every_kind_is_made_and_then_left_alone(ready: Host) -> None:
    before = ready.invocation()
    ready.apply()
    assert ready.invocation() == before
    said = ready.ssh(
        "cat /srv/link/*.conf; id -nG ops; dpkg-query -W provision-test; stat -c %U /srv/things/folder/file"
    )
    assert said.split("\n") == ["a", "ops adm", "provision-test\t1", "daemon"]
    assert ready.ssh("stat -c '%a %s' /srv/password") == "600 7"


DRIFT: list[tuple[str, dict[str, list[str]]]] = [
    ("chmod 700 /srv/it*", {"file:/srv/it's here": ["mode"]}),
    ("ln -sfn /etc /srv/link", {"file:/srv/link": ["target"]}),
    ("echo b >/srv/it*/*.conf", {"file:/srv/it's here/$a *.conf": ["sha256"]}),
    ("chgrp daemon /srv/it*/*.conf", {"file:/srv/it's here/$a *.conf": ["group"]}),
    ("printf x >>/srv/large", {"file:/srv/large": ["sha256"]}),
    ("rm /srv/large; mkdir /srv/large", {"file:/srv/large": ["type", "mode", "sha256"]}),
    ("echo x >/srv/password", {"file:/srv/password": ["sha256"]}),
    ("rm /srv/things/folder/file", {"unarchive:/srv/things/things.tgz": ["create"]}),
    ("sysctl -qw net.ipv4.ip_forward=0", {"sysctl:net.ipv4.ip_forward": ["value"]}),
    (
        "sysctl -qw net.ipv4.ip_local_port_range='1025 2000'",
        {"sysctl:net.ipv4.ip_local_port_range": ["value"]},
    ),
    ("echo >/etc/sysctl.d/90-provision.conf", {"file:/etc/sysctl.d/90-provision.conf": ["sha256"]}),
    ("rm /etc/modules-load.d/provision.conf", {"file:/etc/modules-load.d/provision.conf": ["create"]}),
    ("usermod -s /bin/bash -G daemon ops", {"user:ops": ["shell", "groups"]}),
    ("dpkg --purge provision-test >/dev/null", {"package:provision-test": ["create"]}),
    ("touch /srv/unwanted/a.tmp", {"absent_paths:/srv/unwanted/*.tmp": ["delete"]}),
    ("systemctl disable -q sleeper", {"systemd:sleeper.service": ["enabled"]}),
]


@pytest.mark.parametrize("turn", [0, 1])
def test_each_drift_is_found_and_mended(ready: Host, turn: int) -> None:
    """Every second one at a time, because some concern the same thing."""
    before = ready.invocation()
    chosen = DRIFT[turn::2]
    for command, _ in chosen:
        ready.ssh(command)
    wanted = {name: keys for _, each in chosen for name, keys in each.items()}
    assert len(wanted) == len(chosen)
    assert ready.plan() == wanted
    ready.apply()
    assert ready.plan() == {}
    assert ready.invocation() == before, "none of this concerns the unit"


def test_command_runs_again_when_what_it_makes_is_gone(ready: Host) -> None:
    ready.ssh("rm /srv/made")
    ((name, keys),) = ready.plan().items()
    assert (name.split(":")[0], keys) == ("command", ["create"])
    ready.apply()
    assert ready.ssh("test -s /srv/made && echo made") == "made"


UNIT_DRIFT: list[tuple[str, list[str], bool]] = [
    ("systemctl stop sleeper", ["active", "inputs"], True),
    ("systemctl kill -s KILL sleeper; sleep 0.2", ["active", "inputs"], True),
    ("systemctl restart sleeper", [], False),
    ("echo '# by hand' >>/etc/sleeper.conf", [], False),
    ("echo '# by hand' >>/etc/sleeper.conf; sleep 1.1; systemctl restart sleeper", ["inputs"], True),
    ("echo '# by hand' >>/etc/systemd/system/sleeper.service", ["reloaded"], False),
    ("echo '# by hand' >>/etc/systemd/system/sleeper.service; systemctl daemon-reload", ["reloaded"], False),
    ("rm /run/provision/units/sleeper.service; sleep 1.1; systemctl restart sleeper", [], False),
    ("sleep 1.1; rm /run/provision/units/sleeper.service; touch /etc/sleeper.conf", ["inputs"], True),
]


@pytest.mark.parametrize(
    ("command", "keys", "restarts"), UNIT_DRIFT, ids=[each[0][:60] for each in UNIT_DRIFT]
)
def test_a_unit_restarts_exactly_when_it_has_to(
    command: str, keys: list[str], restarts: bool, ready: Host
) -> None:
    ready.ssh("systemctl stop sleeper")
    ready.apply()
    ready.ssh(command)
    before = ready.invocation()
    assert ready.plan().get("systemd:sleeper.service", []) == keys
    ready.apply()
    assert ready.plan() == {}
    assert (ready.invocation() != before) == restarts


def test_another_time_zone_changes_nothing(ready: Host) -> None:
    """The host's zone is one whose short name `date` takes for another."""
    ready.ssh(
        "ln -sfn /usr/share/zoneinfo/Asia/Shanghai /etc/localtime; sleep 1.1; systemctl restart sleeper"
    )
    try:
        assert ready.plan() == {}
    finally:
        ready.ssh("ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime")


def test_a_changed_input_restarts_once(ready: Host) -> None:
    ready.write("templates/sleeper.conf.j2", "word=two\n")
    before = ready.invocation()
    assert set(ready.plan()) == {"file:/etc/sleeper.conf", "systemd:sleeper.service"}
    ready.apply()
    after = ready.invocation()
    assert after != before
    ready.apply()
    assert ready.invocation() == after


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"modprobe": {"name": "no_such_module"}}, "cannot load its module no_such_module"),
    (
        {"sysctl": {"values": {"net.ipv4.nothing": 1}, "sysctl_file": "/etc/sysctl.d/x.conf"}},
        "has no setting net.ipv4.nothing",
    ),
    ({"package": {"name": "no-such-package"}}, "cannot install the package no-such-package"),
    ({"user": {"name": "ops2", "groups": ["no-such-group"]}}, "group 'no-such-group' does not exist"),
    ({"systemd_service": {"name": "no-such-unit"}}, "no-such-unit.service"),
    (
        {"copy": {"dest": "/srv/deb", "content": "x"}},
        "/srv/deb is a folder with contents where a file is wanted",
    ),
    ({"copy": {"dest": "/srv/x", "content": "x", "owner": "nobody-here"}}, "nobody-here"),
    ({"command": {"cmd": "echo no such luck >&2; false", "unless": "false"}}, "no such luck"),
]


@pytest.mark.parametrize(("task", "words"), REFUSED, ids=[next(iter(each[0])) for each in REFUSED])
def test_what_cannot_be_is_told_in_plain_words(task: dict[str, Any], words: str, host: Host) -> None:
    host.write("book.yaml", json.dumps([{"name": "wrong", "hosts": "all", "tasks": [task]}]))
    said = host.apply(status=1)
    assert words in said
    assert "--playbook" in said, "the command that goes on names the playbook"
    assert "is still absent" not in said


SLOW = """\
- name: slow
  hosts: all
  vars: {word: WORD}
  tasks:
    - template: {dest: /etc/systemd/system/sleeper.service, src: sleeper.service.j2}
    - template: {dest: /etc/sleeper.conf, src: sleeper.conf.j2}
    - command: {cmd: "sleep 3; echo WORD >>/srv/slow-runs; touch /srv/slow-WORD", creates: /srv/slow-WORD}
    - systemd_service: {name: sleeper, inputs: [/etc/sleeper.conf]}
"""


def test_killed_in_the_middle_of_a_stage(ready: Host) -> None:
    """The input is written, the restart is not reached, the controller is gone: the same command restarts once."""
    ready.write("book.yaml", SLOW.replace("WORD", "killed"))
    before = ready.invocation()
    words = ready.argv("apply", ready.inventory, "--playbook", ready.book, "--yes")
    run = subprocess.Popen(words, env=ready.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while "killed" not in ready.ssh("cat /etc/sleeper.conf"):
        assert time.monotonic() < until
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    ready.apply()
    assert ready.plan() == {}
    assert ready.invocation() != before
    assert ready.ssh("cat /srv/slow-runs") == "killed", "an orphan and the new run did not both do it"
    assert ready.ssh("ls -d /run/provision.* 2>/dev/null | wc -l") == "0", "the killed run's folder is gone"


LEAVING = """\
- name: everything
  hosts: all
  tasks:
    - file: {path: /srv/leaving, state: directory}
    - copy: {dest: /srv/leaving/mine, content: "mine\\n"}
    - copy: {dest: /srv/leaving/theirs, content: "ours\\n", mode: "0600"}
    - file: {path: /srv/leaving/link, state: link, src: mine}
    - copy: {dest: /srv/leaving/same, content: "same\\n"}
    - unarchive: {src: things.tgz, dest: /srv/leaving/things}
    - sysctl: {values: {net.ipv4.conf.all.log_martians: 1}, sysctl_file: /etc/sysctl.d/92-leaving.conf}
    - template: {dest: /etc/systemd/system/leaver.service, src: sleeper.service.j2}
    - systemd_service: {name: leaver}
"""
STAYING = """\
- name: everything
  hosts: all
  tasks:
    - file: {path: /srv/leaving, state: directory}
"""
SEEN = """
cd /srv/leaving
stat -c '%n %a %U' -- theirs same 2>&1
cat theirs same
for f in mine link things/folder /etc/sysctl.d/92-leaving.conf /etc/systemd/system/leaver.service; do
  [ -e "$f" ] || [ -L "$f" ] || echo "no $f"
done
sysctl -n net.ipv4.conf.all.log_martians
systemctl is-active leaver || :
find /etc/systemd/system -name 'leaver*'
"""


def test_what_leaves_the_playbook_is_taken_away_and_what_was_there_comes_back(host: Host) -> None:
    host.write("templates/sleeper.service.j2", UNIT)
    host.write("book.yaml", STAYING)
    host.apply()
    host.ssh("cd /srv/leaving; echo theirs >theirs; chown daemon theirs; chmod 640 theirs; echo same >same")
    host.ssh("sysctl -qw net.ipv4.conf.all.log_martians=0")
    host.write("book.yaml", LEAVING)
    host.apply()
    assert host.ssh("cat /srv/leaving/theirs; systemctl is-active leaver") == "ours\nactive"
    host.ssh("touch /srv/leaving/foreign")
    host.write("book.yaml", STAYING)
    assert host.plan() == {
        "systemd:leaver.service": ["enabled", "active"],
        "file:/etc/systemd/system/leaver.service": ["delete"],
        "sysctl:net.ipv4.conf.all.log_martians": ["value"],
        "file:/etc/sysctl.d/92-leaving.conf": ["delete"],
        "unarchive:/srv/leaving/things/things.tgz": ["delete"],
        "file:/srv/leaving/link": ["delete"],
        "file:/srv/leaving/theirs": ["sha256"],
        "file:/srv/leaving/mine": ["delete"],
    }
    said = host.provision("apply", host.inventory, "--playbook", host.book, status=1)
    assert "deletes file:/srv/leaving/mine" in said
    assert "stops leaver.service" in said
    host.apply()
    assert host.plan() == {}
    assert host.ssh(SEEN).split("\n") == [
        "theirs 640 daemon",
        "same 644 root",
        "theirs",
        "same",
        "no mine",
        "no link",
        "no things/folder",
        "no /etc/sysctl.d/92-leaving.conf",
        "no /etc/systemd/system/leaver.service",
        "0",
        "inactive",
    ]
    assert host.ssh("ls /srv/leaving") == "foreign\nsame\ntheirs\nthings"


def test_what_a_killed_run_put_there_is_known_to_be_ours(host: Host) -> None:
    """The record is written before the thing."""
    early = "    - copy: {dest: /srv/leaving/early, content: x}\n"
    host.write("book.yaml", f"{STAYING}{early}    - command: {{cmd: 'sleep 30', creates: /no}}\n")
    run = subprocess.Popen(
        host.argv("apply", host.inventory, "--playbook", host.book),
        env=host.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while host.ssh("ls /srv/leaving/early 2>/dev/null || :") == "":
        assert time.monotonic() < until
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    host.ssh("pkill -x sleep || :")
    host.write("book.yaml", STAYING)
    assert host.plan() == {"file:/srv/leaving/early": ["delete"]}
    host.apply()


def test_something_else_in_its_place_is_left_alone(host: Host) -> None:
    host.write("book.yaml", STAYING + "    - copy: {dest: /srv/leaving/place, content: x}\n")
    host.apply()
    host.ssh("rm /srv/leaving/place; mkdir /srv/leaving/place")
    host.write("book.yaml", STAYING)
    assert host.plan() == {}
