"""Becoming root by sudo on a real sshd, as a user who may, may not, and must first say a password."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sshd import Sshd, account, serve

from provisioner.errors import UnreachableError
from provisioner.inventory.secrets import Secret
from provisioner.remote.route import UserConfig
from provisioner.remote.session import Session, connect
from provisioner.shell.script import Blob, Script

USER, PASSWORD = "provtest-sudo", "pa$$ 'word\""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def become(server: Sshd, password: str | None = None, **changes: Any) -> Session:
    secret = None if password is None else Secret.text(password)
    login = server.connection(**{"user": USER, "become": True, "become_password": secret, **changes})
    return connect("node1", login, known_hosts=server.known_hosts, config=UserConfig(None))


@pytest.mark.parametrize(
    ("sudoers", "password"),
    [
        (f"{USER} ALL=(ALL) NOPASSWD: ALL", None),
        (f"{USER} ALL=(ALL) NOPASSWD: ALL", "not needed"),
        (f"{USER} ALL=(ALL) ALL", PASSWORD),
        (f"Defaults:{USER} timestamp_timeout=0\n{USER} ALL=(ALL) ALL", PASSWORD),
        (f"Defaults:{USER} use_pty, lecture=always\n{USER} ALL=(ALL) ALL", PASSWORD),
        (f"Defaults:{USER} !use_pty\n{USER} ALL=(ALL) ALL", PASSWORD),
    ],
)
def test_root_by_sudo(server: Sshd, sudoers: str, password: str | None) -> None:
    data = bytes(range(256)) * 20_000
    script = Script(
        'id -un; cat "$W/m"; sha256sum <&3; echo err >&2; exit 4', {"m": Blob.of(b"m\n")}, (Blob.of(data),)
    )
    with account(USER, PASSWORD, sudoers=sudoers), become(server, password) as session:
        for _ in range(3):
            result = session.run(script, deadline=20)
            digest = hashlib.sha256(data).hexdigest().encode()
            assert result.stdout == b"root\nm\n" + digest + b"  -\n"
            assert (result.status, result.stderr) == (4, b"err\n")


def test_another_user(server: Sshd) -> None:
    with account(USER, PASSWORD, sudoers=f"{USER} ALL=(ALL) NOPASSWD: ALL"):
        with become(server, become_user="nobody") as session:
            assert session.run(Script("id -un")).stdout == b"nobody\n"
        with become(server, user="root", become_user="nobody") as session:
            assert session.run(Script('id -un; touch "$W/x"')).stdout == b"nobody\n"


def test_root_does_not_use_sudo(server: Sshd, tmp_path: Path) -> None:
    with become(server, user="root") as session:
        assert session.run(Script("echo ${SUDO_USER-none}")).stdout == b"none\n"


@pytest.mark.parametrize(
    ("sudoers", "password", "reason", "hint"),
    [
        (f"{USER} ALL=(ALL) ALL", None, "wants a password", "ansible_become_password"),
        (f"{USER} ALL=(ALL) ALL", "wrong", "refuses the password", "ansible_become_password"),
        (
            f"Defaults:{USER} requiretty\n{USER} ALL=(ALL) NOPASSWD: ALL",
            None,
            "requiretty",
            f"Defaults:{USER} !requiretty",
        ),
        ("", PASSWORD, "does not let", "NOPASSWD"),
        (f"{USER} ALL=(ALL) NOPASSWD: /bin/true", PASSWORD, "does not let", "NOPASSWD"),
    ],
)
def test_refusals_say_what_mends_them(
    server: Sshd, sudoers: str, password: str | None, reason: str, hint: str
) -> None:
    with account(USER, PASSWORD, sudoers=sudoers), become(server, password) as session:
        with pytest.raises(UnreachableError, match=f"node1: .*{reason}") as caught:
            session.run(Script("true"))
        assert hint in caught.value.hint
        assert PASSWORD not in caught.value.reason + caught.value.hint


def test_the_password_is_in_no_argv_and_no_environment(server: Sshd) -> None:
    look = 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | grep -Fxc -f "$W/p"'
    sudoers = f"Defaults:{USER} timestamp_timeout=0\n{USER} ALL=(ALL) ALL"
    with account(USER, PASSWORD, sudoers=sudoers), become(server, PASSWORD) as session:
        result = session.run(Script(look, {"p": Blob.of(PASSWORD.encode(), secret=True)}))
    assert (result.stdout, result.stderr) == (b"0\n", b"")
