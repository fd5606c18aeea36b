"""What leaves the playbook leaves the host: what was there before comes back, what others put there stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

UNIT = """\
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
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
