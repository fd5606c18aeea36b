"""Name servers as the spec and Corefiles write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provisioner.inventory.spelling import said
from provisioner.spec.dns import NODES_FILE
from provisioner.spec.values import IPAddress, RefusedError, address

DNS_PORT = 53


@dataclass(frozen=True)
class NameServer:
    address: IPAddress
    port: int = DNS_PORT

    def __str__(self) -> str:
        """As CoreDNS reads it (plugin/pkg/parse)."""
        if self.port == DNS_PORT:
            return str(self.address)
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def name_server(text: str) -> NameServer:
    """From ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    if "://" in text:
        raise RefusedError(
            f"{said(text)} has a scheme", "write the address alone: servers are asked by plain DNS"
        )
    if found := re.fullmatch(r"([0-9a-fA-F.:]+)#([0-9]+)", text):
        meant = f"[{found[1]}]:{found[2]}" if ":" in found[1] else f"{found[1]}:{found[2]}"
        raise RefusedError(f"{said(text)} has its port behind a '#'", _near(meant))
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text)
    parted = bracketed or re.fullmatch(r"([^:]*):([^:]*)", text)
    host, port = (parted[1], parted[2]) if parted else (text, None)
    return NameServer(_server(host), DNS_PORT if port is None else _port(text, port))


def upstream(text: str) -> None:
    """A name server, or the node's own resolv.conf."""
    if text == NODES_FILE:
        return
    if text.startswith("/"):
        hint = (
            f"{NODES_FILE} is their node's, without the stub of systemd-resolved; or name servers by address"
        )
        raise RefusedError(f"{said(text)} is a file that the DNS pods have not", hint)
    name_server(text)


def _server(text: str) -> IPAddress:
    found = address(text)
    if found.is_loopback:
        raise RefusedError(
            f"'{text}' is a loopback address: the DNS pods would ask themselves", "name a real server"
        )
    if found.is_unspecified or found.is_multicast or (found.version == 6 and found.is_link_local):
        raise RefusedError(f"'{text}' is no address at which pods reach a server", "name a real server")
    return found


def _port(text: str, port: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise RefusedError(f"{said(text)}: {said(port)} is not a port", "1 to 65535")
    return int(port)


def _near(meant: str) -> str:
    try:
        name_server(meant)
    except RefusedError:
        return "write ADDRESS:PORT"
    return f"did you mean '{meant}'?"
