"""What is refused before anything changes, because it would fail late or only some day: judged from facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts

CLOCK_SECONDS = 10.0
"""By which clocks may differ. etcd's members warn of each other from 1 s on (etcd, rafthttp/probing_status.go), and
tokens and leases end by the clock. Certificates bear more: they begin ten minutes before they are issued."""

MEMORY_KIB = 700 * 1024
"""Below this a node with kubelet, runtime, proxy and the network's agent begins to kill pods."""


def check_hosts(facts: Mapping[str, Facts], nodes: Sequence[str], *, swap: bool) -> None:
    """Raises ProvisionError naming every fault of every host. `swap`: nodes may use swap."""
    faults = [
        *_clocks(facts),
        *(
            f"{name}: swap is on, and the kubelet does not start beside it"
            for name in _swapping(facts, nodes, swap)
        ),
        *(
            f"{name}: has {facts[name].memory // 1024} MiB of memory, a node needs {MEMORY_KIB // 1024}"
            for name in nodes
            if name in facts and facts[name].memory < MEMORY_KIB
        ),
        *_twins(facts, nodes),
    ]
    if faults:
        raise ProvisionError(
            "nothing was changed:\n" + "\n".join(f"  {each}" for each in faults), _hint(faults)
        )


def _clocks(facts: Mapping[str, Facts]) -> Iterator[str]:
    """The controller is one of many: it issues the certificates, so its clock counts as well."""
    skews = {name: each.clock_skew for name, each in facts.items()}
    middle = median([0.0, *skews.values()])
    if abs(middle) > CLOCK_SECONDS:
        yield f"this machine's clock is {_apart(-middle)} most hosts'"
        return
    for name, skew in skews.items():
        if abs(skew) > CLOCK_SECONDS:
            yield f"{name}: its clock is {_apart(skew)} this machine's"


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def _swapping(facts: Mapping[str, Facts], nodes: Sequence[str], allowed: bool) -> list[str]:
    return [name for name in nodes if name in facts and facts[name].swap and not allowed]


def _twins(facts: Mapping[str, Facts], nodes: Sequence[str]) -> Iterator[str]:
    """Machines that were cloned: DHCP, systemd's journal and several network plug-ins tell hosts apart by this id."""
    seen: dict[str, str] = {}
    for name in nodes:
        number = facts[name].machine_id if name in facts else ""
        if number and seen.setdefault(number, name) != name:
            yield f"{name}: has the same /etc/machine-id as {seen[number]}"


def _hint(faults: Sequence[str]) -> str:
    hints = {
        "clock": "let chrony or systemd-timesyncd set the clocks",
        "swap": "swapoff -a and remove it from /etc/fstab, or set kubelet_allow_swap: true",
        "machine-id": "rm /etc/machine-id && systemd-machine-id-setup, then reboot",
    }
    return "; ".join(hint for word, hint in hints.items() if any(word in each for each in faults))
