"""CoreDNS' configuration, built as directives with words and written as a whole (coredns.io/manual/configuration)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.inventory.spelling import said
from provisioner.spec.dns import Dns, Forward

REVERSE = ("in-addr.arpa", "ip6.arpa")
_PLAIN = re.compile(r"[\w./:\[\]-]+", re.ASCII)
"""Words that mean themselves: without blanks and quotes, comments (#), blocks and variables of the environment
({$NAME})."""


@dataclass(frozen=True)
class Directive:
    """Its words and, in a block behind them, further directives. A server is one, too: its word is its zone."""

    words: tuple[str, ...]
    block: tuple[Directive, ...] = ()


def corefile(dns: Dns) -> str:
    """The text. Raises ProvisionError for a word that would be read as more than itself."""
    return "".join(f"{line}\n" for each in _servers(dns) for line in _lines(each))


def _servers(dns: Dns) -> Iterator[Directive]:
    outside = (_forward(dns.upstreams, dns.forward), _said("loop")) if dns.upstreams else ()
    forward, loop = outside[:1], outside[1:]
    kubernetes = ("kubernetes", dns.domain, *REVERSE)
    yield Directive(
        (".:53",),
        (
            _said("errors"),
            Directive(("health",), (_said("lameduck", "5s"),)),
            _said("ready"),
            Directive(
                kubernetes,
                (_said("pods", "insecure"), _said("fallthrough", *REVERSE), _said("ttl", "30")),
            ),
            *forward,
            _said("cache", "30"),
            *loop,
            _said("reload"),
            _said("loadbalance"),
        ),
    )
    # No `loop` here: it ends CoreDNS, and a server of one domain that asks back is no reason for that.
    for domain, servers in sorted(dns.stub_domains.items()):
        own = (_said("errors"), _said("cache", "30"), _forward(servers, dns.forward))
        yield Directive((f"{domain}:53",), own)


def _forward(servers: Sequence[str], options: Forward) -> Directive:
    """What is CoreDNS' own is left out; but that takes any number of queries at once, 2 KB each."""
    usual = Forward()
    chosen = [_said("max_concurrent", str(options.max_concurrent))]
    if options.policy != usual.policy:
        chosen.append(_said("policy", options.policy))
    if options.max_fails != usual.max_fails:
        chosen.append(_said("max_fails", str(options.max_fails)))
    chosen += [_said(name) for name in ("force_tcp", "prefer_udp") if getattr(options, name)]
    return Directive(("forward", ".", *servers), tuple(chosen))


def _said(*words: str) -> Directive:
    return Directive(words)


def _lines(directive: Directive) -> Iterator[str]:
    for word in directive.words:
        if not _PLAIN.fullmatch(word):
            raise ProvisionError(f"{said(word)} cannot be a word of CoreDNS' configuration")
    head = " ".join(directive.words)
    if not directive.block:
        yield head
        return
    yield head + " {"
    for each in directive.block:
        yield from (f"    {line}" for line in _lines(each))
    yield "}"
