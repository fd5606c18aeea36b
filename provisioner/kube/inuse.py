"""What a cluster has set going on a host, and others make use of by now: that stays."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.kube.runtimeimages import CTR
from provisioner.shell.script import Script

# Docker asks containerd for its containers, and has one of its own only where there is none (dockerd, --containerd).
# Behind a bridge with an address are containers or machines, once the cluster's own is gone: docker sets ip_forward
# when it starts, and where it is set already nobody knows that it needs it (moby, libnetwork/drivers/bridge).
_USERS = f"""
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  ! systemctl is-active --quiet docker.service || echo containerd docker
  ctr namespaces list -q | grep -vx -e {CTR.rpartition(" ")[2]} -e moby | while read -r n; do
    [ -z "$(ctr --namespace "$n" tasks list -q)" ] || echo "containerd containers of $n"
  done
fi
ip -o link show type bridge up | sed -nE 's/^[0-9]+: ([^:@]+)[:@].*/\\1/p' | while read -r link; do
  for f in 4 6; do
    [ -z "$(ip -o "-$f" address show dev "$link" scope global)" ] || echo "forwarding$f $link"
  done
done
"""
_THINGS = {
    "containerd": ("containerd", "systemd:containerd.service"),
    "forwarding4": ("net.ipv4.ip_forward", "sysctl:net.ipv4.ip_forward"),
    "forwarding6": ("net.ipv6.conf.all.forwarding", "sysctl:net.ipv6.conf.all.forwarding"),
}


def users_script() -> Script:
    """To be run once the cluster's pods and their networks are gone."""
    return Script(_USERS)


def parse_users(output: str) -> Mapping[str, tuple[str, str]]:
    """By resource id: its name, and who makes use of it."""
    users: dict[str, list[str]] = {}
    for line in output.splitlines():
        thing, _, user = line.partition(" ")
        if thing in _THINGS:
            users.setdefault(thing, []).append(user)
    return {_THINGS[thing][1]: (_THINGS[thing][0], ", ".join(those)) for thing, those in users.items()}
