"""kube-proxy's services of IPVS go, and those of keepalived or an administrator stay.

`kube-proxy --cleanup` flushes them all, in every mode, and so is run only where all are kube-proxy's.
Facts: Kubernetes 1.14 to 1.36, pkg/proxy/ipvs (CleanupLeftovers; services at the addresses of kube-ipvs0 and, for node
ports, which are in its sets, at the node's own); the kernel's /proc/net/ip_vs (net/netfilter/ipvs/ip_vs_ctl.c)."""

from __future__ import annotations

from typing import Final

# Addresses and ports in lines of the kernel are hexadecimal; one of IPv6 has colons, in brackets.
CLEAR: Final = r"""
own_addresses() {
  ip -4 -o addr show dev kube-ipvs0 2>/dev/null | sed -nE 's/.* inet ([0-9.]+).*/\1/p' | tr . ' ' |
    while read -r a b c d; do printf '%02X%02X%02X%02X\n' "$a" "$b" "$c" "$d"; done
  sed -nE 's/^([0-9a-f]{32}) .* kube-ipvs0$/\1/p' /proc/net/if_inet6 2>/dev/null
}
own_ports() {
  ipset list -n 2>/dev/null | grep -E '^KUBE-(6-)?NODE-PORT-(TCP|UDP|SCTP-HASH)$' | while read -r name; do
    protocol=${name#*NODE-PORT-}
    ipset list "$name" | sed -nE 's/^([^ ]*,sctp:)?([0-9]+)$/\2/p' | while read -r port; do
      printf '%s:%04X\n' "${protocol%-HASH}" "$port"
    done
  done
}
# Lines as `own|others PROTOCOL ADDRESS PORT`.
services() {
  while read -r protocol place _; do
    case $protocol in TCP | UDP | SCTP | FWM) ;; *) continue ;; esac
    whose=others address=$(echo "${place%:*}" | tr -d '[:]') port=${place##*:}
    case $own in *" $address "* | *" $protocol:$port "*) whose=own ;; esac
    echo "$whose $protocol ${place%:*} $port"
  done </proc/net/ip_vs
}
delete_service() {
  case $1 in TCP) kind=-t ;; UDP) kind=-u ;; *) kind=--sctp-service ;; esac
  address=$2
  # shellcheck disable=SC2046,SC2183  # four numbers
  case $address in
    '['*) ;;
    *) address=$(printf '%d.%d.%d.%d' $(echo "$address" | sed -E 's/../0x& /g')) ;;
  esac
  ipvsadm -D "$kind" "$address:$(printf %d "0x$3")" >/dev/null 2>&1 </dev/null || :
}
if grep -qsE '^(TCP|UDP|SCTP) ' /proc/net/ip_vs; then
  own=" $(own_addresses | tr '\n' ' ')$(own_ports | tr '\n' ' ')"
  found=$(services)
  case $found in
    *others\ *) ;;
    *) /opt/kubernetes/bin/kube-proxy --cleanup >/dev/null 2>&1 || : ;;
  esac
  found=$(services)
  echo "$found" | sed -n 's/^own //p' | while read -r protocol address port; do
    delete_service "$protocol" "$address" "$port"
  done
  still=$(services | grep -c '^own ') || :
  [ "$still" = 0 ] ||
    printf 'stays\t%s services of kube-proxy in IPVS\tothers have some, and no ipvsadm could delete them\n' "$still"
fi
"""
"""What can only stay is printed as the second look prints it (lookagain.py)."""
