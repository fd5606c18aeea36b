"""What a host is like: its files, units, links, rules and settings, each a line, so that two states can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab_cluster import LabCluster

_SECTIONS = {
    "files": (
        "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp \\) -prune -o"
        " -printf '%y %m %u:%g %p %l\\n'; find /run -mindepth 1 \\( -type s -o -type d -o -type f \\) -printf '%y %p\\n'"
    ),
    "contents": "find /etc /usr/local /opt /root -xdev -type f -exec sha256sum {} +",
    "units": "systemctl list-unit-files --no-legend --plain; systemctl list-units --no-legend --plain --all --type=service"
    " | awk '{print $1, $3, $4}'",
    "links": "ip -o link | sed -E 's/ (qlen|mtu) .*//; s/^[0-9]+: //'; ip -o address | awk '{print $2, $4}'",
    "routes": "ip rule; ip route show table all | grep -v '^unreachable'; ip -6 rule",
    "rules": "for t in iptables ip6tables; do $t-save 2>/dev/null | grep -v '^[#:]' || :; done; nft list ruleset 2>/dev/null || :",
    "chains": "for t in iptables ip6tables; do $t-save 2>/dev/null | grep '^:' | cut -d' ' -f1 || :; done",
    "sets": "ipset list -n 2>/dev/null || :",
    "settings": "sysctl -a 2>/dev/null | grep -E '^(net|vm[.]overcommit|kernel[.]panic|fs[.]inotify)' || :",
    "users": "cut -d: -f1 /etc/passwd /etc/group",
    "mounts": "awk '{print $2, $3}' /proc/mounts",
}
_RESTLESS = re.compile(
    r"nf_conntrack_(count|buckets|max)|random[.](uuid|boot_id)|net[.]netfilter[.]|[.]neigh[.]|[.]conf[.](veth|cali|lxc)"
)


def snapshot(lab: LabCluster, host: str) -> dict[str, set[str]]:
    """Lines by section."""
    script = "".join(f"echo '== {name}'\n{{ {text}\n}} | sort -u\n" for name, text in _SECTIONS.items())
    found: dict[str, set[str]] = {}
    section = ""
    for line in lab.one(host, script).splitlines():
        if line.startswith("== "):
            section = line[3:]
        elif not _RESTLESS.search(line):
            found.setdefault(section, set()).add(line)
    return found


def difference(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> str:
    """Lines that came (+) and went (-), by section."""
    lines = []
    for name in _SECTIONS:
        old, new = before.get(name, set()), after.get(name, set())
        lines += [f"{name} - {each}" for each in sorted(old - new)] + [
            f"{name} + {each}" for each in sorted(new - old)
        ]
    return "\n".join(lines)
