"""Every base kind on a real host, through `provision apply --playbook`: made, drifted, mended, and a killed run."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]

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
    - file: {path: "{{ item }}", state: directory}
      loop: [/etc/udev, /etc/udev/rules.d]
    - ethtool: {links: [{link: eth0, offloads: {generic-receive-offload: true}}], file: /etc/udev/rules.d/x.rules}
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
    ("ethtool -K eth0 gro off", {"ethtool:eth0 offloads generic-receive-offload": ["value"]}),
    ("rm /etc/udev/rules.d/x.rules", {"file:/etc/udev/rules.d/x.rules": ["create"]}),
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

_EACH_RUN = (1, 4, 5)
"""Of them every run of the tests tries these: it is stopped, gets another input, and reads what is written anew."""


@pytest.mark.parametrize(
    ("command", "keys", "restarts"),
    [
        pytest.param(*each, id=each[0][:60], marks=() if index in _EACH_RUN else pytest.mark.soak)
        for index, each in enumerate(UNIT_DRIFT)
    ],
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
    (
        {
            "ethtool": {
                "links": [{"link": "nolink0", "rings": {"rx": 1}}],
                "file": "/etc/udev/rules.d/y.rules",
            }
        },
        "this host has no link nolink0",
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


def test_interrupted_in_the_middle_of_a_stage(ready: Host) -> None:
    """What fails because the run hangs up is no failure, and the same command goes on."""
    ready.write("book.yaml", SLOW.replace("WORD", "interrupted"))
    words = ready.argv("apply", ready.inventory, "--playbook", ready.book, "--yes")
    # Where the tests run in a shell's background, SIGINT is ignored, and children inherit that.
    run = subprocess.Popen(
        ["env", "--default-signal=INT", *words],
        env=ready.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 30
    while "interrupted" not in ready.ssh("cat /etc/sleeper.conf"):
        assert time.monotonic() < until
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "interrupted" in said
    assert "FAILED" not in said
    assert "interrupted" in ready.provision("history", ready.inventory, "-n", "1")
    ready.apply()
    assert ready.plan() == {}


def test_what_a_unit_reads_again_needs_no_restart(ready: Host) -> None:
    """And whatever makes a restart necessary as well needs one only."""
    ready.write("book.yaml", BOOK.replace("inputs: [/etc/sleeper.conf]", "reload: [/etc/sleeper.conf]"))
    again = "ExecReload=/bin/cp /etc/sleeper.conf /run/sleeper.read\n[Install]"
    ready.write("templates/sleeper.service.j2", UNIT.replace("[Install]", again))
    ready.apply()
    before = ready.invocation()
    ready.write("templates/sleeper.conf.j2", "word=three\n")
    ready.apply()
    assert ready.ssh("cat /run/sleeper.read") == "word=three"
    assert ready.invocation() == before
    ready.ssh("echo word=four >/etc/sleeper.conf; systemctl reload sleeper")
    assert set(ready.plan()) == {"file:/etc/sleeper.conf", "systemd:sleeper.service"}
    ready.apply()
    assert ready.ssh("cat /run/sleeper.read") == "word=three", "though it is what was read at the last start"
    assert ready.invocation() == before
    assert ready.plan() == {}
    ready.write("templates/sleeper.conf.j2", "word=five\n")
    ready.ssh(
        "rm /run/sleeper.read; sed -i 's/sleep infinity/sleep 999999/' /etc/systemd/system/sleeper.service"
    )
    ready.ssh("systemctl daemon-reload")
    ready.write("templates/sleeper.service.j2", UNIT.replace("infinity", "99999").replace("[Install]", again))
    ready.apply()
    assert ready.invocation() != before
    assert ready.ssh("test ! -e /run/sleeper.read && echo started") == "started"


def test_what_somebody_else_has_started_reads_again_too(ready: Host) -> None:
    """As after a reboot: what it has read is told by times."""
    ready.write("book.yaml", BOOK.replace("inputs: [/etc/sleeper.conf]", "reload: [/etc/sleeper.conf]"))
    again = "ExecReload=/bin/cp /etc/sleeper.conf /run/sleeper.read\n[Install]"
    ready.write("templates/sleeper.service.j2", UNIT.replace("[Install]", again))
    ready.apply()
    ready.ssh("rm -f /run/sleeper.read; sleep 1; systemctl restart sleeper; sleep 1")
    before = ready.invocation()
    assert ready.plan() == {}
    ready.write("templates/sleeper.conf.j2", "word=six\n")
    ready.apply()
    assert ready.ssh("cat /run/sleeper.read") == "word=six"
    assert ready.invocation() == before
    assert ready.plan() == {}
    ready.write("templates/sleeper.service.j2", UNIT.replace("infinity", "99998").replace("[Install]", again))
    ready.apply()
    assert ready.invocation() != before
