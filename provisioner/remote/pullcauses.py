"""Why a node cannot pull an image, of what containerd's client says.

The words are those of containerd 1.6, 1.7 and 2.x (remotes/docker) and of Go's net, crypto/x509 and net/http, as they
were seen; tests/data/pulls.yaml has them whole.
"""

from __future__ import annotations

import re

_NAME = r"(?P<at>[^\s\"\\:]+)"
_PLACE = r"dial tcp (?P<at>\S+?):"
_PUSH = "push the bundle's images first: `provision apply INVENTORY --stage images`, or apply without --limit"
_CAUSES = (
    (
        rf"lookup {_NAME}(?: on \S+)?: ",
        "DNS: the registry's name is not known there: {at}",
        (
            "let {host} resolve it (DNS, /etc/hosts; `getent hosts {at}` there tells), or name a host of the"
            " inventory's group 'registry'"
        ),
    ),
    (
        rf"{_PLACE} connect: connection refused",
        "TCP: nothing listens at {at}, or a firewall refuses it",
        "is the registry running, at this port (cluster.registry.port)? is {host} let in there?",
    ),
    (
        rf"{_PLACE} connect: (no route to host|network is unreachable|permission denied)",
        "TCP: no way leads to {at}",
        "look at `ip route get` on {host}, at the host of the registry and at the firewalls between",
    ),
    (
        rf"{_PLACE} (i/o timeout|connect: connection timed out|operation was canceled)",
        "TCP: nothing answers at {at}",
        "does a firewall drop it? is the address right, and is that host up?",
    ),
    (
        "x509: (certificate is (valid for .+, not |not valid for any names)|cannot validate certificate)",
        "TLS: the registry's certificate is not for the name by which it is asked",
        "give it a certificate with that name as a subject alternative name, or use its name as cluster.registry.host",
    ),
    (
        r"x509: certificate has expired or is not yet valid: current time (?P<at>\S+) is after",
        "TLS: the registry's certificate has expired, by the clock there: {at}",
        "look at the clock of {host} (`date`); where it is right, renew the registry's certificate",
    ),
    (
        r"x509: certificate has expired or is not yet valid: current time (?P<at>\S+) is before",
        "TLS: the registry's certificate is not valid yet, by the clock there: {at}",
        "look at the clock of {host} (`date`); where it is right, at that of the host that made the certificate",
    ),
    (
        "x509: ",
        "TLS: the registry's certificate is of an authority that the node does not know",
        "name the file with the registry's authority as cluster.registry.ca; without it that is the cluster's own",
    ),
    (
        "server gave HTTP response to HTTPS client|first record does not look like a TLS handshake",
        "TLS: what answers there speaks without TLS",
        "let the registry serve HTTPS, or name its other port in cluster.registry.port",
    ),
    (
        "TLS handshake timeout|connection reset by peer|remote error: tls|: EOF",
        "TLS: the connection is cut off before anything is said",
        "look at the registry's log, and at what stands between (a proxy, a firewall that looks inside)",
    ),
    (
        "401 Unauthorized|authorization failed|insufficient_scope|[Nn]o basic auth|failed to authorize",
        "401: the registry wants an account, or does not know this one (Harbor says so of a missing project, too)",
        "look at cluster.registry.username and password; may that account pull from the project?",
    ),
    (
        "403 Forbidden",
        "403: the registry forbids it to this account",
        "give the account the right to pull from the project; a project's quota or scanner may forbid it as well",
    ),
    (
        "404 Not Found|: not found",
        "404: the registry does not have the image, or not the project",
        _PUSH,
    ),
    (
        "429 Too Many Requests",
        "429: the registry has been asked too often",
        "wait, or raise its limit for {host}",
    ),
    (
        r"(?P<at>5\d\d [A-Z][A-Za-z ]+)",
        "{at}: the registry itself fails, or what stands before it",
        "look at its log, its disk and its storage",
    ),
)  # fmt: skip
_PROGRESS = re.compile(r"^(?!.*(?:level=|ctr: |error)).*$\n?", re.MULTILINE)


def pull_cause(said: str, host: str) -> tuple[str, str]:
    """(the cause, what mends it) of a pull that failed with these words; both empty for one that is not known."""
    for pattern, cause, hint in _CAUSES:
        if match := re.search(pattern, said):
            at = match.groupdict().get("at") or ""
            return cause.format(at=at, host=host), hint.format(at=at, host=host)
    return "", ""


def essence(said: str) -> str:
    """The last message in it, without the lines that show progress."""
    lines = [line.strip() for line in _PROGRESS.sub("", said).splitlines() if line.strip()]
    return lines[-1].removeprefix("ctr: ") if lines else "it said nothing"
