"""Hosts that could not be reached are told together: whoever mends one wants to know of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import UnreachableError

if TYPE_CHECKING:
    from provisioner.remote.pool import Pool

T = TypeVar("T")


def all_reached(answers: Mapping[str, T | Exception]) -> dict[str, T]:
    """The answers of all hosts.

    Raises UnreachableError naming every host that was not reached, else what the first host raised.
    """
    lost = {host: each for host, each in answers.items() if isinstance(each, UnreachableError)}
    if lost:
        reason = "\n".join(f"{host}: {each.reason.removeprefix(f'{host}: ')}" for host, each in lost.items())
        raise UnreachableError(reason, _hints(lost))
    found: dict[str, T] = {}
    for host, each in answers.items():
        if isinstance(each, Exception):
            raise each
        found[host] = each
    return found


def _hints(lost: Mapping[str, UnreachableError]) -> str:
    """A line for each, with the hosts that it is for where there are several."""
    hosts: dict[str, list[str]] = {}
    for host, each in lost.items():
        if each.hint:
            hosts.setdefault(each.hint, []).append(host)
    if len(hosts) == 1:
        return next(iter(hosts))
    return "\n".join(f"{', '.join(those)}: {hint}" for hint, those in hosts.items())


def reach(pool: Pool, hosts: Sequence[str]) -> None:
    """Logs in to every host. Raises as `all_reached`."""
    all_reached(pool.map(hosts, lambda _: None))
