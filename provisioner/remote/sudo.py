"""Becoming another user: sudo asked without a terminal, the password given only to sudo's own question.

The question is a random word, so no output can be mistaken for it; the script follows only after the frame
has said that it runs. Nothing secret is in argv, environment or a file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from provisioner.errors import UnreachableError
from provisioner.remote.causes import cause_of
from provisioner.remote.exchange import Exchange
from provisioner.remote.frame import BODY, records

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
_RUN = '-H -u "$1" /bin/sh -c "$5" provision "$3" "$4"'
_FREE = f"exec sudo -n {_RUN}"
_PASSWORD = f'exec sudo -S -p "$2" {_RUN}'
_UNKNOWN = f'if sudo -n -u "$1" /bin/sh -c : 2>/dev/null; then {_FREE}; else {_PASSWORD}; fi'


class Mode(Enum):
    """What is known about the host's sudo. The value is the shell text that starts the frame."""

    UNKNOWN = _UNKNOWN
    FREE = _FREE
    PASSWORD = _PASSWORD


@dataclass(frozen=True)
class Become:
    user: str
    password: Callable[[], str] | None
    """Asked only when sudo asks; None when there is none."""

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user):
            raise UnreachableError(f"{self.user!r} is no user name", "mend ansible_become_user")


def command(become: Become, mode: Mode, prompt: str, size: int, mark: str) -> str:
    """The command for the login shell: frame.command under sudo. `prompt` is the word by which sudo asks."""
    return (
        f"exec /bin/sh -c 'LC_ALL=C; export LC_ALL; {mode.value}' provision"
        f" {become.user} {prompt} {records(size)} {mark} '{BODY}'"
    )


def converse(exchange: Exchange, become: Become, prompt: str, login: str, timeout: float) -> Mode:
    """Answer sudo until the frame runs; what was learnt about the host's sudo.

    `login` is who logged in. Raises UnreachableError when sudo refuses, asks twice, or needs a password we
    lack.
    """
    deadline = time.monotonic() + timeout
    word = prompt.encode()
    mode = Mode.FREE
    while True:
        running = exchange.pump(lambda: exchange.out.ready or word in exchange.err.noise, deadline)
        if exchange.out.ready:
            return mode
        if not running:
            raise _refused(exchange, become, login)
        if become.password is None or mode is Mode.PASSWORD:
            raise _no_password(become, login, given=mode is Mode.PASSWORD)
        mode = Mode.PASSWORD
        answer = become.password().encode() + b"\n"
        del exchange.err.noise[: exchange.err.noise.find(word) + len(word)]
        exchange.send([answer], len(answer), end=False)


def _no_password(become: Become, login: str, *, given: bool) -> UnreachableError:
    if given:
        return UnreachableError(f"sudo refuses the password of {login}", "mend ansible_become_password")
    return UnreachableError(
        f"sudo wants a password of {login} to become {become.user}",
        f"set ansible_become_password, or put into /etc/sudoers.d/provision: {login} ALL=(ALL) NOPASSWD: ALL",
    )


def _refused(exchange: Exchange, become: Become, login: str) -> UnreachableError:
    said = bytes(exchange.err.noise).decode(errors="replace").strip()
    cause, hint = cause_of(said, "the host")
    if cause:
        return UnreachableError(
            f"{login} cannot become {become.user}: {cause}: {said.splitlines()[-1]}", hint
        )
    if "must have a tty" in said:
        return UnreachableError(
            f"sudo insists on a terminal (requiretty) for {login}",
            f"put into /etc/sudoers.d/provision: Defaults:{login} !requiretty",
        )
    if "not found" in said and "sudo" in said:
        return UnreachableError(
            "sudo is not installed", "install sudo there, or log in as root with ansible_user"
        )
    last = said.splitlines()[-1] if said else "it said nothing"
    return UnreachableError(
        f"sudo does not let {login} become {become.user}: {last}",
        f"put into /etc/sudoers.d/provision: {login} ALL=(ALL) NOPASSWD: ALL",
    )
