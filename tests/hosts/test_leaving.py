"""What leaves the playbook leaves the host: what was there before comes back, what others put there stays."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]

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
    assert host.plan() == {"file:/srv/leaving/place": ["forget"]}
    host.apply()
    assert host.ssh("test -d /srv/leaving/place && echo there") == "there"


FOLDER = "- {name: things, hosts: all, tasks: [{file: {path: /srv/l, state: directory}}, %s]}\n"
ARCHIVE = "{unarchive: {src: %s, dest: /srv/l/tool}}"
MARTIANS = "net.ipv4.conf.lo.log_martians"


def archive(host: Host, name: str, **members: str) -> None:
    with tarfile.open(host.folder / "files" / name, "w:gz") as tar:
        for member, text in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))


def given(host: Host, *tasks: str) -> None:
    """The book has these tasks."""
    host.write("book.yaml", FOLDER % ", ".join(tasks) if tasks else FOLDER.replace(", %s", ""))


def test_another_version_in_the_same_folder(host: Host) -> None:
    archive(host, "tool-1.tgz", common="old", old="x")
    archive(host, "tool-2.tgz", common="new", new="x")
    given(host, ARCHIVE % "tool-1.tgz")
    host.apply()
    given(host, ARCHIVE % "tool-2.tgz")
    host.apply()
    assert host.ssh("cd /srv/l/tool; cat common; ls") == "newcommon\nnew"
    assert host.plan() == {}


def test_what_an_archive_wrote_over_comes_back(host: Host) -> None:
    host.ssh("mkdir -p /srv/l/over; echo theirs >/srv/l/over/common")
    archive(host, "over.tgz", common="ours")
    given(host, "{unarchive: {src: over.tgz, dest: /srv/l/over}}")
    host.apply()
    assert host.ssh("cat /srv/l/over/common") == "ours"
    given(host)
    host.apply()
    assert host.ssh("cat /srv/l/over/common") == "theirs"


@pytest.mark.parametrize(
    ("old", "new", "check", "said"),
    [
        ("{copy: {dest: /var/run/l, content: x}}", "{copy: {dest: /run/l, content: x}}", "cat /run/l", "x"),
        (
            f"{{sysctl: {{values: {{{MARTIANS}: 1}}, sysctl_file: /etc/sysctl.d/l.conf}}}}",
            f"{{sysctl: {{values: {{{MARTIANS.replace('.', '/')}: 1}}, sysctl_file: /etc/sysctl.d/l.conf}}}}",
            f"sysctl -n {MARTIANS}",
            "1",
        ),
        (
            ARCHIVE % "tool-1.tgz",
            "{copy: {dest: /srv/l/tool/common, content: y}}",
            "cat /srv/l/tool/common",
            "y",
        ),
    ],
    ids=["a folder that is a link", "dots and slashes", "another kind"],
)
def test_the_same_thing_by_another_name_stays(host: Host, old: str, new: str, check: str, said: str) -> None:
    archive(host, "tool-1.tgz", common="old", old="x")
    host.ssh(f"sysctl -qw {MARTIANS}=0")
    given(host, old)
    host.apply()
    given(host, new)
    host.apply()
    assert host.ssh(check) == said
    assert host.plan() == {}
    given(host)
    host.apply()


def test_an_original_is_kept_though_only_its_mode_was_changed_at_first(host: Host) -> None:
    host.ssh("echo theirs >/srv/l/adopted; chmod 600 /srv/l/adopted")
    given(host, "{file: {path: /srv/l/adopted, mode: '0640'}}")
    host.apply()
    given(host, "{copy: {dest: /srv/l/adopted, content: ours, mode: '0640'}}")
    host.apply()
    given(host)
    host.apply()
    assert host.ssh("cat /srv/l/adopted") == "theirs"


def test_what_others_changed_or_removed_stays_so(host: Host) -> None:
    tasks = [f"{{copy: {{dest: /srv/l/{name}, content: ours}}}}" for name in ("edited", "gone")]
    given(host, *tasks)
    host.apply()
    host.ssh("echo edited >/srv/l/edited; rm /srv/l/gone")
    given(host)
    assert host.plan() == {"file:/srv/l/edited": ["forget"], "file:/srv/l/gone": ["forget"]}
    told = host.provision("plan", host.inventory, "--playbook", host.book, status=2)
    assert ". one  file:/srv/l/edited  (is no longer ours: changed by others, stays)" in told
    assert ". one  file:/srv/l/gone  (is no longer ours)" in told
    host.provision("apply", host.inventory, "--playbook", host.book)
    assert host.ssh("cat /srv/l/edited") == "edited"
    host.ssh("echo somebody >/srv/l/gone")
    assert host.plan() == {}


def test_a_unit_that_ran_before_is_neither_stopped_nor_started(host: Host) -> None:
    unit = "/etc/systemd/system/theirs2.service"
    host.ssh(f"printf '[Service]\\nExecStart=/bin/sleep 1000\\n' >{unit}; systemctl start theirs2; sleep 1.1")
    service = "{systemd_service: {name: theirs2, enabled: false, inputs: [/srv/l/in]}}"
    given(host, "{copy: {dest: /srv/l/in, content: x}}", service)
    host.apply()
    host.ssh("systemctl stop theirs2")
    given(host)
    host.apply()
    assert host.ssh("systemctl is-active theirs2 || :") == "inactive"


def test_what_two_playbooks_want_stays_until_both_drop_it(host: Host) -> None:
    wish = "{copy: {dest: /srv/l/shared, content: x}}"
    given(host, wish)
    host.apply()
    host.write("other.yaml", FOLDER % wish)
    other = ("apply", host.inventory, "--playbook", str(host.folder / "other.yaml"), "--yes")
    host.provision(*other)
    given(host)
    host.apply()
    assert host.ssh("cat /srv/l/shared") == "x"
    host.write("other.yaml", FOLDER.replace(", %s", ""))
    host.provision(*other)
    assert host.ssh("ls /srv/l/shared 2>/dev/null || echo none") == "none"


def test_what_cannot_be_written_down_is_not_done(host: Host) -> None:
    given(host)
    host.apply()
    host.ssh("cd /var/lib/provision; mv owned kept; mkdir owned")
    given(host, "{copy: {dest: /srv/l/unknown, content: x}}")
    host.apply(status=1)
    assert host.ssh("ls /srv/l/unknown 2>/dev/null || echo none") == "none"
    # And a line that was cut off takes no other with it.
    host.ssh('cd /var/lib/provision; rmdir owned; mv kept owned; printf \'{"kind":"fi\' >>owned')
    host.apply()
    given(host)
    assert host.plan() == {"file:/srv/l/unknown": ["delete"]}
    host.apply()


def test_a_secret_that_leaves_shows_no_digest(host: Host) -> None:
    given(host, "{copy: {dest: /srv/l/pin, content: '1234', secret: true}}")
    host.apply()
    given(host)
    digest = hashlib.sha256(b"1234").hexdigest()
    for words in (("--json",), ()):
        said = host.provision("plan", host.inventory, "--playbook", host.book, *words, status=2)
        assert "/srv/l/pin" in said
        assert digest[:12] not in said
    host.apply()
