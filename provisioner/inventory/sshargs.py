"""`ansible_ssh_*_args`: the options of ssh(1) that have a meaning here, without ssh(1)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Multiplexing, compression and logging of a client that is not used; none of them changes who is reached, or
# how safely.
_WITHOUT_MEANING = (
    "controlmaster",
    "controlpersist",
    "controlpath",
    "compression",
    "serveraliveinterval",
    "serveralivecountmax",
    "tcpkeepalive",
    "loglevel",
    "connectionattempts",
)
_FLAGS_WITHOUT_MEANING = frozenset({"-C", "-q", "-T", "-v", "-x"})
_HINT = "known: -J, -i, -p, -o ProxyJump=, ProxyCommand=, IdentityFile=, Port=, StrictHostKeyChecking="


class SshArgumentError(ValueError):
    """An argument that cannot be honoured; its text is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class SshArguments:
    proxy_jump: str | None = None
    proxy_command: str | None = None
    key_file: str | None = None
    port: int | None = None
    host_key_checking: bool | None = None


def read_ssh_arguments(text: str, before: SshArguments) -> SshArguments:
    """`before` with what the arguments in `text` say. Raises SshArgumentError for any other argument."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SshArgumentError(f"cannot be split into arguments: {error}") from None
    result = before
    for option, value in _options(words):
        result = _with_option(result, option, value)
    return result


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Option names, lower case, and values; `-J x` counts as ProxyJump=x."""
    short = {"-J": "proxyjump", "-i": "identityfile", "-p": "port", "-o": ""}
    rest = iter(words)
    for word in rest:
        if word in _FLAGS_WITHOUT_MEANING:
            continue
        flag, value = word[:2], word[2:]
        if flag not in short:
            raise SshArgumentError(f"'{word}' is not supported", _HINT)
        value = value or next(rest, "")
        if not value:
            raise SshArgumentError(f"'{word}' has no value", _HINT)
        if flag == "-o":
            name, _, value = value.replace("=", " ", 1).partition(" ")
            yield name.lower(), value.strip()
        else:
            yield short[flag], value


def _with_option(result: SshArguments, option: str, value: str) -> SshArguments:
    if option in _WITHOUT_MEANING or (option == "userknownhostsfile" and value == "/dev/null"):
        return result
    if option == "proxyjump":
        return replace(result, proxy_jump=None if value == "none" else value)
    if option == "proxycommand":
        return replace(result, proxy_command=None if value == "none" else value)
    if option == "identityfile":
        return replace(result, key_file=value)
    if option == "port" and value.isdecimal() and len(value) <= 5 and 1 <= int(value) <= 65535:
        return replace(result, port=int(value))
    if option == "stricthostkeychecking" and value.lower() in ("yes", "no", "ask", "accept-new", "off"):
        return replace(result, host_key_checking=value.lower() not in ("no", "off"))
    raise SshArgumentError(f"the option '{option}' with the value '{value}' is not supported", _HINT)
