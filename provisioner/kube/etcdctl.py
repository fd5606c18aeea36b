"""etcdctl on a host with a member of etcd: how every script of ours calls it."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.shell.quote import quote

OWN = "https://127.0.0.1:2379"
"""The host's own member."""
_PKI = "/etc/kubernetes/pki/etcd"


def etcdctl(endpoints: Iterable[str] = (OWN,), *, seconds: int = 5) -> str:
    """The command line to which a subcommand is appended. `endpoints` are clients' URLs; the first that answers does;
    `seconds`: how long it may take."""
    return _line(quote(",".join(endpoints)), seconds)


def etcdctl_asking(variable: str, *, seconds: int = 5) -> str:
    """The same for the one client's URL that a variable of the script has."""
    return _line(f'"${variable}"', seconds)


def _line(endpoints: str, seconds: int) -> str:
    return (
        f"/opt/kubernetes/bin/etcdctl --endpoints={endpoints} --cacert={_PKI}/ca.crt"
        f" --cert={_PKI}/server.crt --key={_PKI}/server.key --dial-timeout={seconds}s --command-timeout={seconds}s"
    )
