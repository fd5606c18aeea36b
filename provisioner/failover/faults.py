"""The faults: what each does to a host, and how that mends itself.

A fault is a transient unit of systemd on the host. It ends by its own timer, when it is stopped or when its process is
killed, and each time systemd then runs what undoes it (ExecStopPost): neither the controller nor the connection to it
is needed for that. After a reboot nothing is left of it: what it does is volatile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.failover.linkcut import FILES, cutting, healing
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

UNIT = "provision-failover.service"
FOLDER = "/run/provision/failover"
SECONDS = 20
"""How long a fault lasts when nobody ends it."""
CUT_SECONDS = 7
"""The same for a link that may be the way to the host: nobody can end that. Sessions survive it (remote.dial)."""
KEEPALIVED, NGINX, APIS, LINK, POWER, SERVER, LEADER = (
    "keepalived stopped",
    "nginx stopped",
    "API servers out of reach",
    "link cut",
    "powered off",
    "API server killed",
    "etcd leader's host lost",
)


@dataclass(frozen=True)
class Fault:
    """`do` and `undo` are POSIX sh; `seconds` is how long it lasts at most. `longest` (seconds) and `failures` are what
    clients with new connections may see of it at most; None is any number. `away`: no packet reaches the host then.
    """

    name: str
    do: str
    undo: str
    seconds: int = SECONDS
    longest: float | None = None
    failures: int | None = None
    away: bool = False
    reboots: bool = False
    on_balancer: bool = True

    @property
    def target(self) -> str:
        """In words."""
        if self.failures is not None:
            return f"{'≤ ' if self.failures else ''}{self.failures} failed"
        return f"≤ {self.longest:g} s" if self.longest is not None else ""

    def met(self, outage: float, failed: int) -> bool:
        """Whether that was kept."""
        return (self.longest is None or outage <= self.longest) and (
            self.failures is None or failed <= self.failures
        )


def _off(link: str) -> tuple[str, str]:
    """A host that loses its power falls silent. One that reboots ends its processes first, and while those end, their
    sockets still take connections and then close them: hence its link goes before. What undoes that is for a host that
    does not reboot."""
    reboot = "systemctl reboot --force --force"
    return f"{cutting(link, FOLDER)}\n{reboot}", healing(link, FOLDER)


def keepalived_stopped() -> Fault:
    """A planned hand-over: it says good-bye to the others."""
    return Fault(
        KEEPALIVED, "systemctl stop keepalived.service", "systemctl start keepalived.service", failures=0
    )


def nginx_stopped() -> Fault:
    """The load balancer's own program is gone."""
    unit = "api-load-balancer.service"
    return Fault(NGINX, f"systemctl stop {unit}", f"systemctl start {unit}", longest=3.0)


def apis_out_of_reach(addresses: Sequence[str], port: int) -> Fault:
    """What the load balancer sends to the API servers is dropped, without a word: worse than a refusal. Where there is
    no nft the kernel's routing has no way for it (ip-rule(8)); then connections fail at once."""
    old, new = [each for each in addresses if ":" not in each], [each for each in addresses if ":" in each]
    rules = "".join(
        f"    {family} daddr {{ {', '.join(each)} }} tcp dport {port} drop\n"
        for family, each in (("ip", old), ("ip6", new))
        if each
    )
    routes = [
        f"ip -{family} rule {{}} pref 31 to {address} ipproto tcp dport {port} blackhole"
        for family, each in ((4, old), (6, new))
        for address in each
    ]
    add, remove = ("; ".join(each.format(verb) for each in routes) for verb in ("add", "del"))
    do = f"""\
if command -v nft >/dev/null; then
  nft -f - <<'END'
table inet provision_failover {{
  chain out {{
    type filter hook output priority -150; policy accept;
{rules}  }}
}}
END
else
  {add}
fi"""
    # Both ways: a run that sets hosts up may have brought nft meanwhile.
    undo = f"""\
if ! nft list table inet provision_failover >/dev/null 2>&1; then
  {remove}
else
  nft delete table inet provision_failover
fi"""
    return Fault(APIS, do, undo, longest=3.0)


def link_cut(link: str) -> Fault:
    """The link goes down.

    Not a filter: that leaves ARP alone, by which a host that is cut off would still claim the address.
    """
    do, undo = cutting(link, FOLDER), healing(link, FOLDER)
    return Fault(LINK, do, undo, seconds=CUT_SECONDS, longest=2.0, away=True)


def powered_off(link: str) -> Fault:
    """A reboot without notice to anybody; a host that is switched off would not come back by itself."""
    return Fault(POWER, *_off(link), longest=2.0, away=True, reboots=True)


def leaders_host_lost(link: str) -> Fault:
    """The same for a host of etcd, and of an API server beside it: the others elect a leader."""
    return Fault(LEADER, *_off(link), failures=0, away=True, reboots=True, on_balancer=False)


def server_killed() -> Fault:
    """One API server dies, as by the kernel's hand, which takes one process; systemd starts it again."""
    return Fault(
        SERVER,
        "systemctl kill --signal=KILL --kill-who=main kube-apiserver.service",
        ":",
        seconds=1,
        failures=1,
        on_balancer=False,
    )


def begin(fault: Fault) -> Script:
    """Starts it, and returns."""
    do = f"set -e\n{fault.do}\nexec sleep {fault.seconds}\n"
    main = f"""\
set -e
systemctl stop {UNIT} 2>/dev/null || :
mkdir -p {FOLDER}
rm -f {" ".join(f"{FOLDER}/{each}" for each in FILES)}
cat "$W/do" >{FOLDER}/do
cat "$W/undo" >{FOLDER}/undo
systemd-run --quiet --collect --unit={UNIT} --description={quote(f"Fail-over test: {fault.name}")} \\
  --property=RuntimeMaxSec={fault.seconds + 10} --property="ExecStopPost=/bin/sh {FOLDER}/undo" \\
  /bin/sh {FOLDER}/do
"""
    payload = {"do": Blob.of(do.encode()), "undo": Blob.of(f"{fault.undo}\n".encode())}
    return Script(main, payload)


END = Script(f"systemctl stop {UNIT} 2>/dev/null || :\n")
"""Undoes the fault on the host, if there is any, and returns when that is done."""

LEFT = Script(f"{END.main}cat {FOLDER}/missing 2>/dev/null || :\nrm -f {FOLDER}/missing\n")
"""The same, and prints what could not be undone: a command a line, each of which failed."""
