"""`kubeconfig`: a certificate for a person, signed on this machine with the cluster's key, for a short time."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from provisioner.action.carried import Carried
from provisioner.action.connect import connect_to
from provisioner.action.gather import gather_each, usable
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, Problem, ProvisionError, UnreachableError
from provisioner.inventory.model import Inventory
from provisioner.inventory.secrets import Secret
from provisioner.kube.access import ADMIN_GROUP, common_name, group_is_bound, portable_kubeconfig
from provisioner.pki.authority import KeyPair, Leaf, issue
from provisioner.pki.cluster import ClusterState
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.spec.load import load_cluster

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,49}")


@dataclass(frozen=True)
class Access:
    """A kubeconfig, and what is to be known of it. `user` is the name that the API server sees."""

    text: Secret
    user: str
    server: str
    expires: dt.datetime


def life_of(text: str) -> dt.timedelta:
    """The span that "8h", "30d", "45m" or "90s" means. Raises InputError."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None or int(match[1]) == 0:
        reason = f"'{text[:40]}' is no span of time"
        raise InputError([Problem("--expiry", 0, 0, reason, "a number and s, m, h or d, such as 8h")])
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def admin_access(
    path: Path, *, user: str, life: dt.timedelta, server: str | None, emit: Emit
) -> tuple[str, Access]:
    """(the cluster's name, a kubeconfig for its administration). Nothing is changed on hosts.

    One control-plane host that can be reached is enough. Raises InputError, UnreachableError, and ProvisionError when
    there is no cluster, or it does not know the administrators' group yet.
    """
    inventory, spec = load_cluster(path)
    if not _USER.fullmatch(user):
        reason = f"'{user[:60]}' is no user's name"
        raise InputError(
            [Problem("--user", 0, 0, reason, "letters, digits, '.', '_', '@' and '-', at most 50")]
        )
    url = _checked_url(server) if server else f"https://{spec.endpoint}"
    with connect_to(inventory) as pool:
        facts = _control_planes(inventory, pool, emit)
        state = _state(spec.name, facts)
        pair = _issued(state.authorities["kubernetes"], user, life)
        _check_group(next(iter(facts)), pool, path, emit)
    text = portable_kubeconfig(
        cluster=spec.name,
        server=url,
        authority=state.authorities["kubernetes"].cert,
        user=user,
        certificate=pair.cert,
        key=pair.key,
        tls_server_name=spec.endpoint.host if server else None,
    )
    expires = x509.load_pem_x509_certificate(pair.cert.encode()).not_valid_after_utc
    return spec.name, Access(text, common_name(user), url, expires)


def _control_planes(inventory: Inventory, pool: Pool, emit: Emit) -> dict[str, Facts]:
    """Facts of those that can be reached."""
    planes = [host.name for host in inventory.group("kube_control_plane")]
    answers = gather_each(pool, planes)
    lost = {host: each for host, each in answers.items() if isinstance(each, UnreachableError)}
    if len(lost) < len(planes):
        for fault in lost.values():
            emit(Note(message=f"not asked: {fault.reason}", level="warning"))
        answers = {host: each for host, each in answers.items() if host not in lost}
    return usable(answers)


def _state(name: str, facts: Mapping[str, Facts]) -> ClusterState:
    carried = Carried.of(facts, facts.keys())
    if not carried.states and not carried.marks:
        raise ProvisionError(
            f"there is no cluster '{name}' on these hosts yet", "make it with `provision apply`"
        )
    return carried.agreed(name)


def _issued(authority: KeyPair, user: str, life: dt.timedelta) -> KeyPair:
    end = x509.load_pem_x509_certificate(authority.cert.encode()).not_valid_after_utc
    if dt.datetime.now(dt.UTC) + life > end:
        reason = f"the cluster's own authority ends before that, on {end:%Y-%m-%d}"
        raise InputError([Problem("--expiry", 0, 0, reason, "30d is long already")])
    leaf = Leaf(common_name(user), (ADMIN_GROUP,), days=life / dt.timedelta(days=1))
    return issue(authority, leaf)


def _check_group(host: str, pool: Pool, path: Path, emit: Emit) -> None:
    bound = group_is_bound(pool.session(host))
    if bound is None:
        text = f"{host}: its API server does not answer; whether this user may do anything was not checked"
        emit(Note(message=text, level="warning", hint=f"see `provision status {path}`"))
    elif not bound:
        reason = f"the cluster does not know the group '{ADMIN_GROUP}' yet: it came with a later version"
        raise ProvisionError(reason, f"`provision apply {path} --stage admission` makes it known")


def _checked_url(server: str) -> str:
    try:
        parts = urlsplit(server)
        well = (
            parts.scheme == "https"
            and parts.hostname
            and not (parts.query or parts.fragment or parts.username)
        )
        _ = parts.port
    except ValueError:
        well = False
    if not well or not server.isprintable() or " " in server:
        reason = f"'{server[:60]}' is no address of an API server"
        raise InputError([Problem("--server", 0, 0, reason, "such as https://k8s.example.com:6443")])
    return server
