"""Which registry, and who we are to it, as a command line names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provisioner.errors import InputError, Problem

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"\[[0-9a-fA-F:]+\]|{_LABEL}(?:\.{_LABEL})*"
_TARGET = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?(?:/(?P<project>.+?))?/?")
_PROJECT = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
HTTPS = 443


@dataclass(frozen=True)
class Target:
    """`project` is the path in the registry under which images lie; "" is its root."""

    host: str
    port: int
    project: str = ""

    @classmethod
    def parse(cls, text: str, option: str = "--to") -> Target:
        """`HOST[:PORT][/PROJECT]`. Raises InputError."""
        found = _TARGET.fullmatch(text.removeprefix("https://"))
        if not found or "://" in text.removeprefix("https://"):
            raise InputError(
                [Problem(option, 0, 0, f"{text!r} names no registry", "HOST[:PORT][/PROJECT], over TLS")]
            )
        host, port, project = found["host"].strip("[]"), int(found["port"] or HTTPS), found["project"] or ""
        if not 0 < port < 65536:
            raise InputError([Problem(option, 0, 0, f"there is no port {port}", "from 1 to 65535")])
        if project and not _PROJECT.fullmatch(project):
            hint = "small letters, digits, '-', '_', '.' and '/'"
            raise InputError([Problem(option, 0, 0, f"{project!r} is not a project's path", hint)])
        return cls(host, port, project)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f"/{self.project}" if self.project else "")
