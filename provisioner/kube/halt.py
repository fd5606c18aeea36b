"""What is left on a host that leaves the cluster beside what the tool itself has put there: pods, their networks, rules
in the kernel, data. Only things that bear the cluster's own names are touched."""

from __future__ import annotations

from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

_CTR = "ctr --namespace k8s.io"
# Chains are kube-proxy's, flannel's and the CNI plug-ins' by their names. A rule in another chain that leads to one of
# them goes first; what iptables prints can be read again by a shell, comments included.
_HALT = f"""
systemctl stop kubelet.service 2>/dev/null || :
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  {_CTR} tasks list -q | while read -r t; do {_CTR} tasks delete --force "$t" >/dev/null 2>&1 || :; done
  {_CTR} containers list -q | while read -r c; do {_CTR} containers delete "$c" >/dev/null 2>&1 || :; done
  {_CTR} images list -q | while read -r i; do {_CTR} images delete "$i" >/dev/null 2>&1 || :; done
fi
systemctl stop kube-proxy.service 2>/dev/null || :
[ ! -x /opt/kubernetes/bin/kube-proxy ] || /opt/kubernetes/bin/kube-proxy --cleanup >/dev/null 2>&1 || :
while read -r _ place _; do
  case $place in /var/lib/kubelet/* | /run/netns/cni-*) echo "$place" ;; esac
done </proc/mounts | sort -r | while read -r place; do umount -l -- "$place" 2>/dev/null || :; done
rm -f /run/netns/cni-*
! command -v nft >/dev/null || nft delete table inet provision-api-door 2>/dev/null || :
for link in cni0 flannel.1 flannel-v6.1; do ip link delete "$link" 2>/dev/null || :; done
for tool in iptables ip6tables; do
  command -v "$tool" >/dev/null || continue
  for table in raw mangle nat filter; do
    ours='(KUBE|FLANNEL|CNI)-[A-Z0-9-]+'
    rules=$("$tool" -w -t "$table" -S 2>/dev/null) || continue
    echo "$rules" | grep -E "^-A .*-j $ours" | sed 's/^-A/-D/' | while read -r rule; do
      eval "$tool -w -t $table $rule" 2>/dev/null || :
    done
    echo "$rules" | sed -nE "s/^-N ($ours)$/\\\\1/p" >/run/provision-chains
    while read -r chain; do "$tool" -w -t "$table" -F "$chain" || :; done </run/provision-chains
    while read -r chain; do "$tool" -w -t "$table" -X "$chain" || :; done </run/provision-chains
    rm -f /run/provision-chains
  done
done
"""
_DATA = (
    "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/kube-proxy", "/run/flannel", "/etc/cni/net.d",
    "/var/log/kubernetes", "/var/log/pods", "/var/log/containers", "/etc/kubernetes", "/opt/kubernetes", "/opt/cni",
)  # fmt: skip
"""What only Kubernetes uses. The last ones hold nothing of ours any more by then; folders with other things stay."""
_KEPT = ("/etc/kubernetes", "/opt/kubernetes", "/opt/cni", "/etc/cni/net.d")

_EMPTIED = ("/etc/containerd/certs.d", "/etc/systemd/system/*.service.d")
"""Folders whose empty ones go: systemd does without an empty one of drop-ins."""


def hand_over_script() -> Script:
    """Ends keepalived, which tells the others so; nginx serves those who are connected on."""
    return Script(locked("systemctl disable --now --quiet keepalived.service 2>/dev/null || :") + "\n")


def halt_script() -> Script:
    """Ends the node's pods and takes away their networks and images; to be run while its units are still there."""
    return Script(locked(_HALT) + "\n")


def clear_script() -> Script:
    """Deletes the cluster's data on the host and, last, what the tool remembers; prints what was left alone."""
    lines = [f"rm -rf --one-file-system -- {path}" for path in _DATA if path not in _KEPT]
    lines += ["rm -f /etc/cni/net.d/10-flannel.conflist /opt/cni/bin/flannel"]
    lines += [
        f"[ ! -d {path} ] || find {path} -depth -type d -empty -delete || :\n[ ! -e {path} ] || echo {path}"
        for path in _KEPT
    ]
    lines += [f"find {path} -depth -type d -empty -delete 2>/dev/null || :" for path in _EMPTIED]
    lines += ["rm -rf /var/lib/provision /run/provision/units /run/provision/refusing 2>/dev/null || :"]
    return Script("\n".join(lines) + "\n")
