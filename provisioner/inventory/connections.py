"""From Ansible's connection variables to a Connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory import names
from provisioner.inventory.addresses import address_fault
from provisioner.inventory.graph import Variable
from provisioner.inventory.model import Connection
from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import kind_of, odd_letters, oddly_spelt, said
from provisioner.inventory.sshargs import SshArgumentError, SshArguments, read_ssh_arguments

_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,254}\$?")
_DAY = 86400
_TRUE = frozenset({"yes", "true", "on", "1", "y", "t"})
_FALSE = frozenset({"no", "false", "off", "0", "n", "f"})


def connection_of(
    host: str,
    values: Mapping[str, Any],
    variables: Mapping[str, Variable],
    at: Problem,
    folder: Path,
) -> tuple[Connection, list[Problem]]:
    """The connection of `host` and what is wrong with it.

    `values` are the rendered variables, `variables` the same as written, `at` the place of the host's name
    and `folder` the inventory's, from which relative key files count.
    """
    reader = _Reader(values, variables)
    reader.refuse_unusable()
    arguments = reader.ssh_arguments()
    address = reader.text("address", _address_problem)
    if not reader.has("address") and (problem := _address_problem(host)):
        reader.problems.append(
            Problem(at.file, at.line, at.column, problem[0], "mend it, or give it an ansible_host")
        )
    key_file = reader.text("key_file") or arguments.key_file
    port = reader.port() or arguments.port or 22
    checking = reader.boolean("host_key_checking")
    if checking is None:
        checking = arguments.host_key_checking
    connection = Connection(
        address=address or host,
        port=port,
        user=reader.user("user"),
        password=reader.secret("password"),
        key_file=(folder / Path(key_file).expanduser()).absolute() if key_file else None,
        become=reader.boolean("become") or False,
        become_user=reader.user("become_user") or "root",
        become_password=reader.secret("become_password"),
        timeout=reader.seconds("timeout") or 10.0,
        host_key_checking=True if checking is None else checking,
        proxy_jump=arguments.proxy_jump,
        proxy_command=arguments.proxy_command,
    )
    return connection, reader.problems


_Fault = tuple[str, str]
"""Reason and hint."""


def _address_problem(address: str) -> _Fault | None:
    """Why `address` is neither an IP address nor a host name; None when it is one."""
    fault = address_fault(address)
    if fault is None:
        return None
    name, colon, port = address.partition(":")
    if colon and port.isdecimal() and _address_problem(name) is None:
        return f"{said(address)} has a port", "write the port as ansible_port"
    if "://" in address:
        return f"{said(address)} is a URL", "write only the address"
    if "@" in address:
        return f"{said(address)} names a user", "write the user as ansible_user"
    # Digits and dots that are no address would be looked up, or read as octal, somewhere later.
    if re.fullmatch(r"[0-9./ ]+", address) or ":" in address:
        return fault if said(address) in fault[0] else (f"{said(address)}: {fault[0]}", fault[1])
    if len(address) <= 253 and _ADDRESS.fullmatch(address):
        return None
    return f"{said(address)} is neither an IP address nor a host name", odd_letters(address)


def _user_problem(user: str) -> _Fault | None:
    return None if _USER.fullmatch(user) else (f"{said(user)} is not a user's name", odd_letters(user))


class _Reader:
    """Reads the connection variables of one host and collects what is wrong with them."""

    def __init__(self, values: Mapping[str, Any], variables: Mapping[str, Variable]) -> None:
        self.problems: list[Problem] = []
        self._values = values
        self._variables = variables

    def has(self, meaning: str) -> bool:
        """Whether it is written at all, well or not."""
        return any(name in self._variables for name in names.ALIASES[meaning])

    def complain(self, meaning: str, reason: str, hint: str = "") -> None:
        name = self._name(meaning)
        if name is not None:
            self.problems.append(self._variables[name].problem((), f"{name}: {reason}", hint))

    def text(self, meaning: str, fault: Callable[[str], _Fault | None] = lambda _: None) -> str | None:
        """The value when it is a text in which `fault` finds nothing wrong."""
        value, name = self._value(meaning), self._name(meaning)
        if value is None or name is None:
            return None
        written = value if isinstance(value, str) else self._variables[name].written()
        if not written:
            self.complain(meaning, "is empty" if value == "" else f"must be a text, this is {kind_of(value)}")
        elif not written.isprintable():
            self.complain(meaning, f"{said(written)} has characters that cannot be printed")
        elif found := fault(written):
            self.complain(meaning, *found)
        elif isinstance(value, str):
            return value
        else:
            hint = "" if isinstance(value, bool) else f"quote it: '{written}'"
            self.complain(meaning, f"must be a text, this is {kind_of(value)}", hint)
        return None

    def user(self, meaning: str) -> str | None:
        return self.text(meaning, _user_problem)

    def secret(self, meaning: str) -> Secret | None:
        value = self._value(meaning)
        if value is None or isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return Secret.text(value)
        hint = "" if isinstance(value, dict | list) else "quote it"
        self.complain(meaning, f"must be a text or a !secret, this is {kind_of(value)}", hint)
        return None

    def boolean(self, meaning: str) -> bool | None:
        value = self._value(meaning)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int) else ""
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        self.complain(meaning, f"must be true or false{_said(value)}")
        return None

    def port(self) -> int | None:
        value, name = self._value("port"), self._name("port")
        if value is None or name is None:
            return None
        odd = oddly_spelt(self._variables[name].written(), value) if type(value) is int else None
        if odd:
            self.complain("port", *odd)
            return None
        number = _whole(value)
        if number is not None and 1 <= number <= 65535:
            return number
        self.complain("port", f"must be a number between 1 and 65535{_said(value)}")
        return None

    def seconds(self, meaning: str) -> float | None:
        value = self._value(meaning)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", value):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _DAY:
            return float(value)
        self.complain(meaning, f"must be a number of seconds, above 0 and up to {_DAY}{_said(value)}")
        return None

    def ssh_arguments(self) -> SshArguments:
        found = SshArguments()
        for name in names.SSH_ARGUMENTS:
            value = self._get(name)
            if value is None or value == "":
                continue
            try:
                if not isinstance(value, str):
                    raise SshArgumentError(
                        f"must be a text, this is {kind_of(value)}", "such as '-J bastion'"
                    )
                found = read_ssh_arguments(value, found)
            except SshArgumentError as error:
                self.problems.append(self._variables[name].problem((), f"{name}: {error}", error.hint))
        return found

    def refuse_unusable(self) -> None:
        for name, (allowed, reason, hint) in names.RESTRICTED.items():
            value = self._get(name)
            if value is not None and value not in allowed:
                self.problems.append(self._variables[name].problem((), f"{name}: {reason}", hint))

    def _value(self, meaning: str) -> Any:
        name = self._name(meaning)
        return None if name is None else self._get(name)

    def _name(self, meaning: str) -> str | None:
        """The name under which a value is given; a problem when two names give different ones."""
        given = [name for name in names.ALIASES[meaning] if self._get(name) is not None]
        for other in given[1:]:
            if self._get(other) != self._get(given[0]):
                variable = self._variables[other]
                problem = variable.problem(
                    (), f"{other} and {given[0]} mean the same and differ", "keep one", key=True
                )
                if problem not in self.problems:
                    self.problems.append(problem)
        return given[0] if given else None

    def _get(self, name: str) -> Any:
        if name not in self._variables:
            return None
        try:
            return self._values[name]
        except InputError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return None


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,4}", value) else None


def _said(value: Any) -> str:
    """What was written instead, where that is short and no secret."""
    if isinstance(value, bool | dict | list | Secret):
        return f", this is {kind_of(value)}"
    return f", this is {said(value)}"
