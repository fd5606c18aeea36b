"""The faults of hosts and networks that test_faults puts in, and what has to be said of each."""

from __future__ import annotations

from collections.abc import Callable

from faultlab import PASSWORD, Case, Host, on_host

from provisioner.lab.power import cut, heal, power_off, power_on

LARGE, COMMAND = "file:/srv/target/large", "command:sleep"
SMALL_DISK = "mkdir -p /srv/target; mount -t tmpfs -o size=4m tmpfs /srv/target"
GONE = 20.0
"""Seconds within which a host that is gone is missed, from the start of the run in which it goes: the run's own few
seconds are in the assertion's margin."""


def user(sudoers: str) -> Callable[[Host], None]:
    """A user with a password, the lab's key and these rights."""
    return on_host(f"""\
id ops >/dev/null 2>&1 || useradd -m -s /bin/sh ops
printf '%s\\n' "ops:$(cat <<'END'
{PASSWORD}
END
)" | chpasswd
mkdir -p /home/ops/.ssh && cp /root/.ssh/authorized_keys /home/ops/.ssh/ && chown -R ops /home/ops/.ssh
rm -f /etc/sudoers.d/ops
[ -z '{sudoers}' ] || printf '%s\\n' '{sudoers}' >/etc/sudoers.d/ops
""")


NO_USER = on_host("rm -f /etc/sudoers.d/ops; userdel -rf ops 2>/dev/null || :")
AS_OPS = {"ansible_user": "ops", "ansible_become": "true"}
MAY = on_host("echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops")


def expired(host: Host) -> None:
    user("ops ALL=(ALL) NOPASSWD: ALL")(host)
    host.sh("chage -d 0 ops")


def becomes(host: Host) -> None:
    MAY(host)
    text = host.inventory.read_text()
    host.inventory.write_text(text.replace("  vars:\n", "  vars:\n    ansible_become: true\n"))


def powered(what: Callable[..., None]) -> Callable[[Host], None]:
    return lambda host: what(host.plan, host.name)


def start_file(text: str) -> Callable[[Host], None]:
    return on_host(
        f"cp -p /root/.bashrc /root/.bashrc.kept 2>/dev/null || :; cat >/root/.bashrc <<'END'\n{text}\nEND"
    )


OWN_START_FILE = on_host("mv /root/.bashrc.kept /root/.bashrc 2>/dev/null || rm -f /root/.bashrc")


def other_key(host: Host) -> None:
    """The host was built anew, for all that anybody can see."""
    host.sh("""\
cd /etc/ssh && mkdir -p kept && cp -p ssh_host_* kept/ && rm -f ssh_host_ed25519_key*
ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl restart ssh""")


def old_key(host: Host) -> None:
    host.sh("cd /etc/ssh && cp -p kept/* . && rm -rf kept && systemctl restart ssh")


KILL_SSHD = on_host("for p in $(pgrep -f '^sshd: root@'); do kill -9 $p; done")
KILL_STEP = on_host("kill -9 $(pgrep -f '^/bin/sh -c slee[p]')")

CASES = (
    # Disks.
    Case(
        "a full disk",
        1,
        "the disk is full",
        r"make room on {host} \(`df -h`",
        "second",
        LARGE,
        fault=on_host(SMALL_DISK),
        undo=on_host("mount -o remount,size=64m /srv/target"),
        left="small",
    ),
    Case(
        "a read-only file system",
        1,
        "the file system is read-only",
        "`mount` and `dmesg` on {host}",
        "first",
        "file:/srv/target",
        fault=on_host("mkdir -p -m 700 /srv/target; mount -t tmpfs -o ro,mode=700 tmpfs /srv/target"),
        undo=on_host("umount /srv/target"),
        left="",
    ),
    Case(
        "no room in /run and /tmp",
        1,
        "cannot be put down in /run or /tmp there: the disk is full",
        "make room on {host}",
        fault=on_host(
            "mount -o remount,size=6m /run; mkdir -p /run/full; mount -o remount,size=4k /tmp;"
            " dd if=/dev/zero of=/run/full/it bs=4k 2>/dev/null || dd if=/dev/zero of=/tmp/it bs=1k 2>/dev/null || :"
        ),
        undo=on_host(
            "rm -rf /run/full /tmp/it; mount -o remount,size=25% /run; mount -o remount,size=25% /tmp"
        ),
    ),
    Case(
        "no room to remember in",
        1,
        "cannot be written down in /var/lib/provision",
        "`df -h` and `mount` on {host}",
        "first",
        "file:/srv/target",
        fault=on_host(
            "mkdir -p /var/lib/provision; mount -t tmpfs -o size=4k,mode=700 tmpfs /var/lib/provision;"
            " dd if=/dev/zero of=/var/lib/provision/journal bs=4k count=1 2>/dev/null"
        ),
        undo=on_host("umount /var/lib/provision"),
    ),
    # Login shells.
    Case("a profile that prints", 0, fault=start_file("echo welcome; echo on err >&2"), undo=OWN_START_FILE),
    Case(
        "a profile that prints no end",
        0,
        fault=start_file("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"),
        undo=OWN_START_FILE,
        soak=True,
    ),
    Case(
        "a profile that becomes another program",
        4,
        "the login shell of root runs no commands: .*gave back",
        "start files",
        fault=start_file("exec cat"),
        text=False,
        undo=OWN_START_FILE,
        soak=True,
    ),
    Case(
        "a profile that hangs",
        4,
        "the login shell of root runs no commands: it did not run the command within 20 s",
        "start files",
        fault=start_file("exec sleep 60"),
        text=False,
        undo=OWN_START_FILE,
        soak=True,
        seconds=60,
    ),
    Case(
        "a profile that asks",
        1,
        "what was sent did not arrive whole",
        "start files on {host} .*must not read",
        fault=start_file("read -p 'Your name? ' name"),
        text=False,
        undo=OWN_START_FILE,
    ),
    # Who may log in, and become root.
    Case(
        "a wrong key",
        4,
        r"root@\S+ refuses the login; tried \S+id_ed25519",
        "ansible_ssh_private_key_file",
        fault=on_host("mv /root/.ssh/authorized_keys /root/.ssh/kept"),
        undo=on_host("mv /root/.ssh/kept /root/.ssh/authorized_keys"),
    ),
    Case(
        "a changed host key",
        4,
        "THE HOST KEY OF .* HAS CHANGED: it answers with ssh-ed25519 SHA256:.*known: .*known_hosts:",
        "remove the old line named here, then run: provision trust",
        fault=other_key,
        undo=old_key,
    ),
    Case(
        "a wrong sudo password",
        4,
        "sudo refuses the password of ops",
        "ansible_become_password",
        fault=user("ops ALL=(ALL) ALL"),
        undo=MAY,
        variables=AS_OPS | {"ansible_become_password": "wrong"},
    ),
    Case(
        "no sudo password",
        4,
        "sudo wants a password of ops to become root",
        "NOPASSWD",
        fault=user("ops ALL=(ALL) ALL"),
        undo=MAY,
        variables=AS_OPS,
        soak=True,
    ),
    Case(
        "sudo that insists on a terminal",
        4,
        "sudo insists on a terminal",
        "!requiretty",
        fault=user("Defaults:ops requiretty\nops ALL=(ALL) NOPASSWD: ALL"),
        undo=MAY,
        variables=AS_OPS,
        soak=True,
    ),
    Case(
        "a user without sudo",
        4,
        "sudo does not let ops become root",
        "sudoers.d/provision: ops",
        fault=user(""),
        undo=MAY,
        variables=AS_OPS | {"ansible_become_password": '"pa$$ \'word"'},
        soak=True,
    ),
    Case(
        "a user who is not root",
        1,
        "not root on {host}",
        "ansible_become",
        fault=user(""),
        undo=becomes,
        variables={"ansible_user": "ops"},
        soak=True,
    ),
    Case(
        "a password that has expired",
        4,
        "ops cannot become root: its password has expired",
        "`chage -M -1`",
        fault=expired,
        undo=on_host("chage -d 2026-01-01 ops"),
        variables=AS_OPS,
    ),
    # Programs.
    Case(
        "4 MB on stderr",
        1,
        "the script failed",
        "mend that on {host}",
        "second",
        "command:",
        command=(
            "[ -e /srv/well ] || { head -c 40000000 /dev/zero;"
            " yes this is said often | head -c 4000000 >&2; echo at last >&2; exit 3; }"
        ),
        undo=on_host("touch /srv/well"),
        left="large\nsmall",
    ),
    Case(
        "40 MB from one that succeeds", 0, command="head -c 40000000 /dev/zero; head -c 4000000 /dev/zero >&2"
    ),
    Case(
        "a step that is killed",
        1,
        r"it was killed \(SIGKILL\)",
        "when memory runs out",
        "second",
        COMMAND,
        at=COMMAND,
        later=KILL_STEP,
        command="slow",
    ),
    # Networks and power.
    Case(
        "a link that is cut while a file is sent",
        4,
        "the connection broke: .*(no answer for|No route)",
        "is the host up",
        "second",
        LARGE,
        at=LARGE,
        later=powered(cut),
        undo=powered(heal),
        seconds=GONE,
        size=200_000_000,
        left="small",
    ),
    Case(
        "a link that is cut while a command runs",
        4,
        "the connection broke: .*(no answer for|No route)",
        "is the host up",
        "second",
        COMMAND,
        at=COMMAND,
        later=powered(cut),
        undo=powered(heal),
        command="slow",
        seconds=GONE,
        soak=True,
    ),
    Case(
        "packets that are lost",
        4,
        "the connection broke: no answer for",
        "is the host up",
        "second",
        COMMAND,
        at=COMMAND,
        later=lambda host: host.filter("drop"),
        undo=Host.unfilter,
        command="slow",
        seconds=GONE,
        soak=True,
    ),
    Case(
        "connections that are reset",
        4,
        "the connection broke: reset",
        "is the host up",
        "second",
        COMMAND,
        at=COMMAND,
        later=lambda host: host.filter("ip protocol tcp reject with tcp reset"),
        undo=Host.unfilter,
        command="slow",
        seconds=GONE,
    ),
    Case(
        "a firewall",
        4,
        r"port 22: no answer within 10 s",
        "is the host up, and does a firewall",
        fault=lambda host: host.filter("drop"),
        text=False,
        undo=Host.unfilter,
        soak=True,
    ),
    Case(
        "a host that is off",
        4,
        "port 22: (no answer|No route)",
        "is the host up",
        fault=powered(power_off),
        text=False,
        undo=powered(power_on),
    ),
    Case(
        "a host that goes off in mid-script",
        4,
        "the connection broke: .*(no answer for|No route)",
        "is the host up",
        "second",
        COMMAND,
        at=COMMAND,
        later=powered(power_off),
        undo=powered(power_on),
        command="slow",
        seconds=GONE,
    ),
    Case(
        "an sshd that dies in mid-script",
        4,
        "the connection broke: closed by the host",
        "is the host up",
        "second",
        COMMAND,
        at=COMMAND,
        later=KILL_SSHD,
        command="slow",
    ),
)
