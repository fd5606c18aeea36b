"""What a host is like: its files, units, links, rules and settings, each a line, so that two states can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab_cluster import LabCluster

_SECTIONS = {
    # Modes only of what is no mount: a lab host's data folders are.
    "files": r"""
        find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run \) -prune -o \
          -printf '%y %p %l\n'
        find /var/lib/containerd/io.containerd.grpc.v1.cri -mindepth 2 -printf '%y %p\n' 2>/dev/null || :
        find /run -mindepth 1 \( -type d -o -type f -o -type l \) -printf '%y %p\n'""",
    "contents": "find /etc /usr/local /opt /root -xdev -type f -exec sha256sum {} +",
    "units": """
        systemctl list-unit-files --no-legend --plain
        systemctl list-units --no-legend --plain --all --type=service | awk '{print $1, $3, $4}'""",
    "links": """
        ip -o link | sed -E 's/ (qlen|mtu) .*//; s/^[0-9]+: //'
        ip -o address | awk '{print $2, $4}'""",
    "routes": "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all | grep -v expires || :",
    "rules": r"""
        for t in iptables ip6tables; do "$t-save" 2>/dev/null | grep -E '^-|^:[A-Z-]*(KUBE|CNI|FLANNEL|cali)' || :; done
        nft list tables 2>/dev/null | grep -vE 'ip6? (filter|nat|mangle|raw)$' || :""",
    "sets": "ipset list -n 2>/dev/null || :",
    "settings": "sysctl -a 2>/dev/null | grep -E '^(net|vm|kernel|fs)[.]' || :",
    "users": "cut -d: -f1 /etc/passwd /etc/group",
    "mounts": "awk '{print $2, $3}' /proc/mounts",
}
_RESTLESS = re.compile(
    r"nf_conntrack_count|random[.]|fs[.](file-nr|inode|dentry|quota)|kernel[.](ns_last_pid|pty|threads)|[.]neigh[.]|journal"
    r"|kernel[.]perf|vm[.]stat|[.]stat$|/run/provision|/run/systemd/(units|sessions|users|transient|journal)|/run/user"
    r"|/var/lib/systemd/(timers|random)|/var/tmp|/run/sshd|/run/log|/etc/ld[.]so[.]cache|kernel[.]sched"
)
KEPT = re.compile(
    r"files [+] . /var/log/kubernetes"  # logs
    r"|(files|contents) [+] .*/root/[.]kube"  # kubectl's cache
    r"|files [+] . (/run/containerd|/opt/containerd|/run/netns|/run/xtables[.]lock)"  # the runtime's own, and iptables'
)
"""What the README names. Packages are in the lab's image, so that there is no difference by them."""


def snapshot(lab: LabCluster, host: str) -> dict[str, set[str]]:
    """Lines by section, without those that are never the same."""
    script = "".join(
        f"echo '== {name}'\n{{ {text.strip()}\n}} | sort -u\n" for name, text in _SECTIONS.items()
    )
    found: dict[str, set[str]] = {}
    section = ""
    for line in lab.one(host, script).splitlines():
        if line.startswith("== "):
            section = line[3:]
        elif not _RESTLESS.search(line):
            found.setdefault(section, set()).add(line)
    return found


def difference(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> list[str]:
    """Lines that came (+) and went (-), by section."""
    lines = []
    for name in _SECTIONS:
        old, new = before.get(name, set()), after.get(name, set())
        lines += [f"{name} - {each}" for each in sorted(old - new)]
        lines += [f"{name} + {each}" for each in sorted(new - old)]
    return lines


def strange_of(lab: LabCluster, before: Mapping[str, Mapping[str, set[str]]]) -> dict[str, list[str]]:
    """By host what is not as it was `before`, but for what the README names."""
    left = {host: difference(before[host], snapshot(lab, host)) for host in before}
    strange = {host: [line for line in lines if not KEPT.match(line)] for host, lines in left.items()}
    return {host: lines for host, lines in strange.items() if lines}
