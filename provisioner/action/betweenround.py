"""One round of packets between hosts: all listen, then all send, then what arrived is heard. One exec a host."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.action.flows import Packet
from provisioner.action.reach import all_reached
from provisioner.remote.conversation import Conversation
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

if TYPE_CHECKING:
    from provisioner.remote.pool import Pool
    from provisioner.remote.session import Session

LIMIT = 60
"""Seconds after which a host's listeners end by themselves."""
PATIENCE = 3
"""Seconds for connections: a lost SYN is sent again after one."""
_LATE = 1.5
"""Seconds that a datagram may be on its way, once all hosts have sent."""
_WHAT = "the check of what passes between hosts"
_NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Host:
    """What one host told. `address` is its own. `listening` and `busy`: (protocol, port), there by us, or by somebody
    else; `lacks`: programs; `got`: the numbers of packets; `connected`: what became of connections, by number ("open",
    else the system's words); `mtus` of ways, and hardware addresses of `neighbours`, by address."""

    address: str
    listening: frozenset[tuple[str, int]] = frozenset()
    busy: frozenset[tuple[str, int]] = frozenset()
    lacks: frozenset[str] = frozenset()
    got: frozenset[int] = frozenset()
    connected: Mapping[int, str] = field(default_factory=dict)
    mtus: Mapping[str, int] = field(default_factory=dict)
    neighbours: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Party:
    """A host's part in a round: its addresses (`second`: of the other IP family, "" where it has none), on which it
    listens where `local`, and what it sends and receives, by numbers."""

    address: str
    local: bool
    sends: Mapping[int, Packet]
    receives: Mapping[int, Packet]
    second: str = ""

    def script(self, round_: str) -> Script:
        """The conversation's script."""
        ports = {
            protocol: sorted({each.port for each in self.receives.values() if each.protocol == protocol})
            for protocol in ("tcp", "udp")
        }
        raw = any(each.protocol == "ipip" for each in (*self.sends.values(), *self.receives.values()))
        where = f"{self.address} {self.second}".rstrip()
        head = f"RUN={round_}\nTCP={quote(words(ports['tcp']))}\nUDP={quote(words(ports['udp']))}\n"
        head += f"ADDRESS={quote(where if self.local else '')}\nRAW={'ipip' if raw else ''}\n"
        head += f"LIMIT={LIMIT}\nPATIENCE={PATIENCE}\n"
        parts = {
            "take": "between-take.sh",
            "send": "between-send.bash",
            "raw.pl": "between-raw.pl",
            "raw.py": "rawpackets.py",
        }
        payload = {name: Blob.of(_shipped(file).encode()) for name, file in parts.items()}
        return Script(head + _shipped("between.sh"), payload)

    def orders(self, addresses: Mapping[str, str], seconds: Mapping[str, str] = _NOBODY) -> str:
        """What it is told to send."""
        lines = []
        for number, each in self.sends.items():
            address = address_of(each.receiver, each.version, addresses, seconds)
            overhead = (40 if ":" in address else 20) + 8
            size = max(each.size - overhead, 48)
            lines.append(f"{each.protocol} {number} {address} {each.port} {size}\n")
        return "".join(lines) + ".\n"


def _shipped(name: str) -> str:
    return resources.files("provisioner.shell").joinpath(name).read_text(encoding="utf-8")


def address_of(name: str, version: int, addresses: Mapping[str, str], seconds: Mapping[str, str]) -> str:
    """That of the IP `version`; the first one where it is 0, or there is no other."""
    own = addresses[name]
    return own if not version or (":" in own) is (version == 6) else seconds.get(name, own)


def parties_of(
    packets: Sequence[Packet],
    addresses: Mapping[str, str],
    local: Mapping[str, bool],
    seconds: Mapping[str, str] = _NOBODY,
) -> dict[str, Party]:
    """By host; packets are known by their places. Who has no entry in `addresses` is no host, and takes no part."""
    numbered = list(enumerate(packets))
    names = dict.fromkeys(name for each in packets for name in (each.sender, each.receiver))
    hosts = [name for name in names if name in addresses]
    return {
        host: Party(
            addresses[host],
            local[host],
            {number: each for number, each in numbered if each.sender == host},
            {number: each for number, each in numbered if each.receiver == host},
            seconds.get(host, ""),
        )
        for host in hosts
    }


def exchanged(
    pool: Pool, parties: Mapping[str, Party], others: Mapping[str, str] = _NOBODY
) -> dict[str, Host]:
    """What each host told; `others` are addresses of those who are sent to and are no hosts. Raises UnreachableError
    for hosts that are lost meanwhile, ProvisionError."""
    round_ = secrets.token_hex(4)
    addresses = {**others, **{host: party.address for host, party in parties.items()}}
    seconds = {host: party.second for host, party in parties.items()}
    talks: dict[str, Conversation] = {}
    names = list(parties)

    def begin(session: Session) -> None:
        talk = talks[session.host] = Conversation(session, parties[session.host].script(round_), _WHAT)
        talk.hear(lambda lines: "ready" in lines, 15.0)

    def send(host: str) -> None:
        talks[host].say(parties[host].orders(addresses, seconds))
        talks[host].hear(lambda lines: "sent" in lines, PATIENCE + 12.0)

    def listen(host: str) -> None:
        talks[host].hear(_all_of(parties[host]), _LATE)
        talks[host].end(5.0)

    with ExitStack() as stack:
        stack.callback(lambda: hang_up(talks))
        all_reached(pool.map(names, begin))
        all_reached(pool.each(names, send))
        all_reached(pool.each(names, listen))
        return {host: heard(parties[host].address, talk.lines) for host, talk in talks.items()}


def hang_up(talks: Mapping[str, Conversation]) -> None:
    """Ends what still listens: the end of its input tells it to."""
    for talk in talks.values():
        talk.close()


def _all_of(party: Party) -> Callable[[Sequence[str]], bool]:
    """Whether everything has arrived that can."""
    wanted = {f"got {number}" for number, each in party.receives.items() if each.protocol != "tcp"}
    return lambda lines: wanted <= set(lines)


def heard(address: str, lines: Sequence[str]) -> Host:
    """What a host's lines say; what is none of ours is passed over."""
    said: dict[str, list[list[str]]] = {}
    for line in lines:
        kind, *rest = line.split() or [""]
        said.setdefault(kind, []).append(rest)
    ways = [rest for rest in said.get("way", []) if rest]
    numbered = [rest for rest in said.get("tcp", []) if len(rest) > 1 and rest[0].isdecimal()]
    return Host(
        address,
        _ports(said.get("listening", [])),
        _ports(said.get("busy", [])),
        frozenset(rest[0] for rest in said.get("lacks", []) if rest),
        frozenset(int(rest[0]) for rest in said.get("got", []) if rest and rest[0].isdecimal()),
        {int(number): " ".join(how) for number, *how in numbered},
        {rest[0]: int(mtu) for rest in ways if (mtu := _after("mtu", rest)).isdecimal()},
        {rest[0]: mac for rest in ways if (mac := _after("lladdr", rest))},
    )


def _ports(said: Sequence[Sequence[str]]) -> frozenset[tuple[str, int]]:
    return frozenset((rest[0], int(rest[1])) for rest in said if len(rest) == 2 and rest[1].isdecimal())


def _after(name: str, said: Sequence[str]) -> str:
    return said[said.index(name) + 1] if name in said[:-1] else ""
