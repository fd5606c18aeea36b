"""Functions of sh that find what a pod network plug-in has left on a node, and that take it away.

Each `find_KIND` prints a line a thing, and behind a tab why it cannot go yet, where something lives on it. What is
taken away is what was found without such a reason: so the second look sees all that the first one was after. Where
`gone` is set all pods have ended, and nothing is asked about them."""

from __future__ import annotations

from typing import Final

DROP_NETWORK: Final = r"""
drop_network() {
  for each in "$1"/*; do
    case ${each##*/} in lock | last_reserved_ip.*) ;; *) [ ! -e "$each" ] || return 0 ;; esac
  done
  rm -rf --one-file-system -- "$1" 2>/dev/null || :
}
"""
"""Defines `drop_network`: the folder of a network's leases goes with the last one."""

FIND: Final = (
    DROP_NETWORK
    + r"""
tab=$(printf '\t')
# Some shells have programs of these names of their own, which know less.
program() {
  for each in /usr/sbin/"$1" /sbin/"$1" /usr/bin/"$1" /bin/"$1"; do [ ! -x "$each" ] || { echo "$each"; break; }; done
}
iproute=$(program ip) traffic=$(program tc) remove=$(program rm)
ip() { "$iproute" "$@"; }
tc() { "$traffic" "$@"; }
rm() { "$remove" "$@"; }
names() { sed -nE 's/^[0-9]+: ([^:@]+)[:@].*/\1/p'; }
free() { grep -v "$tab"; }
told() { printf 'there\t%s\t%s\t%s\n' "$1" "$2" "${3:-}"; }
left() { printf 'left\t%s\t%s\t%s\n' "$1" "$2" "$3"; }
tell() {
  sed -E "s/^-[46] (boot |12 |80 )?//;s/ +($tab|\$)/\1/" |
    while IFS="$tab" read -r name reason; do told "$1" "$name" "$reason"; done
}
# The container is one that the runtime has: containerd, docker, or CRI-O.
alive() {
  [ -z "$gone" ] || return 1
  for each in /run/containerd/io.containerd.runtime.*/*/"$1" /run/k3s/containerd/io.containerd.runtime.*/*/"$1" \
    /run/docker/runtime-runc/*/"$1" /run/containers/storage/overlay-containers/"$1"; do
    [ ! -d "$each" ] || return 0
  done
  return 1
}
# Processes live in the network namespace that the link leads to, or it has no name and is held by something else.
inhabited() {
  [ -z "$gone" ] || return 1
  line=$(ip -o link show dev "$1" 2>/dev/null)
  space=$(echo "$line" | sed -nE 's/.* link-netns ([^ ]+).*/\1/p')
  if [ -z "$space" ]; then
    id=$(echo "$line" | sed -nE 's/.* link-netnsid ([0-9]+).*/\1/p')
    [ -n "$id" ] || return 1
    space=$(ip netns list-id 2>/dev/null | sed -nE "s/^nsid $id .*name: ([^)]*)\).*/\1/p")
    [ -n "$space" ] || return 0
  fi
  stat -Lc %i /proc/[0-9]*/ns/net 2>/dev/null | grep -qx "$(stat -Lc %i "/run/netns/$space")"
}
find_link() { ip -o link show | names | grep -xE -e "$1"; }
find_podlink() {
  find_link "$1" | while read -r link; do
    if inhabited "$link"; then echo "$link${tab}a pod that runs is behind it"; else echo "$link"; fi
  done
}
# The plug-in `bridge` makes it anew for the next pod: an empty one is nobody's loss.
find_bridge() {
  for link in $1; do
    [ -n "$(find_link "$link")" ] || continue
    port=$(ip -o link show master "$link" | names | head -n 1)
    if [ -n "$port" ] && [ -z "$gone" ]; then echo "$link${tab}links of pods are on it: $port"; else echo "$link"; fi
  done
}
delete_link() { ip link delete "$1" 2>/dev/null || :; }
# A link that cannot be deleted may be others', too: what bears addresses of theirs is left up. Where all is to go the
# link is the plug-in's if BIRD's routes to pods lead over it: Felix then suffers no other address there.
find_address() {
  for link in $1; do
    [ -n "$(find_link "$link")" ] || continue
    among=$nets
    [ -z "$gone" ] || ! find_route 12 | grep -qE -e "^-4 .* dev $link( |\$)" || among=0.0.0.0/0
    for net in $among; do
      ip "$(family "$net")" -o addr show dev "$link" to "$net" | sed -nE "s/.* inet6? ([^ ]+) .*/$link \1/p"
    done
    [ -n "$(ip -o addr show dev "$link" scope global)" ] ||
      ip -o link show dev "$link" | sed -nE "s/^[^<]*<([^>]*,)?UP[,>].*/$link up/p"
  done
}
delete_address() {
  # shellcheck disable=SC2086  # a link and an address
  set -- $1
  [ "$2" = up ] || ip addr delete "$2" dev "$1" 2>/dev/null || :
  [ -n "$(ip -o addr show dev "$1" scope global)" ] || ip link set dev "$1" down 2>/dev/null || :
}
family() { case $1 in *:*) echo -4 | tr 4 6 ;; *) echo -4 ;; esac; }
# Lines as `FAMILY PROTOCOL ROUTE`. BIRD may be the host's own: its routes are Calico's within `nets`, and where all is
# to go only if Calico has run.
find_route() {
  among=any
  case $1 in 12*) [ -z "$nets$gone" ] || among=$nets ;; esac
  [ -z "$gone" ] || [ "$1" != 12 ] || [ -d /run/calico ] || [ -d /var/lib/calico ] || return 0
  for f in -4 -6; do
    for net in $among; do
      [ "$net" = any ] || [ "$(family "$net")" = "$f" ] || continue
      if [ "$net" = any ]; then within=; else within="root $net"; fi
      # shellcheck disable=SC2086  # words
      ip "$f" -o route show table all proto $1 $within 2>/dev/null | tr '\t' ' ' | sed "s/^/$f ${1%% *} /"
    done
  done | sort -u
}
# By another node, to exactly its pods; to any of the network that flannel has written down where all is to go.
find_gateway() {
  how=exact among=$nets
  [ -z "$gone" ] || {
    how=root
    among=$(sed -nE 's/^FLANNEL_(IPV6_)?NETWORK=//p' /run/flannel/subnet.env 2>/dev/null | tr ',' '\n')
  }
  for net in $among; do
    f=$(family "$net")
    ip "$f" -o route show "$how" "$net" proto "$1" 2>/dev/null | grep ' via ' | grep -vE " dev ($kept_links) " |
      sed "s/^/$f $1 /"
  done
}
# What is printed of a route beside what names it cannot be read again.
delete_route() {
  echo "$1" | sed -E 's/\\.*//;:a;s/ (error -?[0-9]+|pref (low|medium|high)|dead|linkdown|offload|trap)( |$)/\3/;ta' |
    while read -r f protocol route; do eval "ip $f route delete $route proto $protocol" 2>/dev/null || :; done
}
delete_gateway() {
  echo "$1" | sed -E 's/( dev [^ ]+).*/\1/' | while read -r f protocol route; do
    eval "ip $f route delete $route proto $protocol" 2>/dev/null || :
  done
}
find_rule() {
  for f in -4 -6; do ip "$f" rule show 2>/dev/null | grep -E -e "$1" | tr '\t' ' ' | sed "s/^/$f /"; done
}
delete_rule() {
  echo "$1" | sed -E 's/^(-[46]) ([0-9]+): */\1 \2 /' | while read -r f pref rule; do
    eval "ip $f rule delete pref $pref $rule" 2>/dev/null || :
  done
}
find_set() { ! command -v ipset >/dev/null || ipset list -n 2>/dev/null | grep -xE -e "$1"; }
delete_set() { ipset destroy "$1" 2>/dev/null || :; }
find_table() { ! command -v nft >/dev/null || nft list tables 2>/dev/null | sed 's/^table //' | grep -xE -e "$1"; }
delete_table() { nft delete table "$1" 2>/dev/null || :; }
find_lease() {
  for network in $1; do
    for lease in /var/lib/cni/networks/"$network"/*; do
      case ${lease##*/} in lock | last_reserved_ip.*) continue ;; esac
      [ ! -f "$lease" ] || of_container "$lease" "$(head -n 1 "$lease" | tr -d '\r')"
    done
    [ ! -d "/var/lib/cni/networks/$network" ] || echo "/var/lib/cni/networks/$network"
    for place in /var/lib/cni/results/"$network"-* /var/lib/cni/cache/results/"$network"-*; do
      id=${place##*/"$network"-}
      id=${id%-*}
      case $id in *[!0-9A-Za-z]* | '') continue ;; esac
      [ ! -f "$place" ] || of_container "$place" "$id"
    done
  done
}
of_container() { if alive "$2"; then echo "$1${tab}container ${2%"${2#????????????}"} runs"; else echo "$1"; fi; }
delete_lease() { if [ -d "$1" ]; then drop_network "$1"; else rm -f -- "$1"; fi; }
find_container() {
  for folder in $1; do
    for place in "$folder"/*; do [ ! -f "$place" ] || of_container "$place" "${place##*/}"; done
    [ ! -d "$folder" ] || echo "$folder"
  done
}
delete_container() { if [ -d "$1" ]; then rmdir -- "$1" 2>/dev/null || :; else rm -f -- "$1"; fi; }
# Lines as `LINK ingress|egress PREFERENCE` and `LINK xdp`.
find_program() {
  [ -z "$traffic" ] || tc qdisc show | sed -nE 's/^qdisc clsact .* dev ([^ ]+) .*/\1/p' |
    while read -r link; do for way in ingress egress; do
      tc filter show dev "$link" "$way" 2>/dev/null | sed -nE "s/.* pref ([0-9]+) bpf .* ($1).*/\1/p" | sort -u |
        sed "s/^/$link $way /"
    done; done
  ip -d -o link show | grep -E -e " name ($1)[^ ]*xdp" | names | sed 's/$/ xdp/'
}
delete_program() {
  # shellcheck disable=SC2086  # words
  set -- $1
  if [ "$2" = xdp ]; then
    for mode in xdpgeneric xdpdrv; do ip link set dev "$1" "$mode" off 2>/dev/null || :; done
  else
    tc filter delete dev "$1" "$2" pref "$3" 2>/dev/null || :
  fi
}
find_mount() {
  while read -r _ place _; do
    # shellcheck disable=SC2254  # a pattern
    case $place in $1) echo "$place" ;; esac
  done </proc/mounts | sort -r
}
delete_mount() { umount -l -- "$1" 2>/dev/null || :; }
find_file() { for place in $1; do if [ -e "$place" ] || [ -L "$place" ]; then echo "$place"; fi; done; }
# Cilium's folder tells that it has run: it stays as long as something is only known by that.
delete_file() {
  [ "$1" != /run/cilium ] || [ -z "$(find_steering)" ] || return
  rm -rf --one-file-system -- "$1" 2>/dev/null || :
}
# Its tables of routes have numbers only, and the rule that leads to local addresses, which it moves behind its own, is
# like that of others: both are looked at only where it has run. The rule stands before all others again before it is
# taken away there (cilium #17292).
find_steering() {
  [ -d /run/cilium ] || return 0
  for f in -4 -6; do
    ! ip "$f" rule show 2>/dev/null | grep -q '^100:.*lookup local' || echo "$f rule 100 lookup local"
    for table in 2004 2005; do
      [ -z "$(ip "$f" route show table "$table" 2>/dev/null)" ] || echo "$f table $table"
    done
  done
}
delete_steering() {
  # shellcheck disable=SC2086  # words
  set -- $1
  if [ "$2" = table ]; then ip "$1" route flush table "$3" 2>/dev/null || :; return; fi
  ip "$1" rule add pref 0 lookup local 2>/dev/null || :
  ip "$1" rule delete pref 100 lookup local 2>/dev/null || :
}
left_links() {
  for link in $1; do
    [ -z "$(find_link "$link")" ] || [ -n "$(find_address "$link")" ] ||
      left link "$link" 'the kernel keeps it while it has the module, and addresses of others stay on it'
  done
}
left_programs() {
  for name in $1; do [ ! -e "/opt/cni/bin/$name" ] || left file "/opt/cni/bin/$name" 'other plug-ins use it, too'; done
}
left_written() { find_file "$1" | while read -r it; do left file "$it" 'people have written it'; done; }
left_setting() {
  [ "$(sysctl -n "$1" 2>/dev/null)" != "$2" ] || left setting "$1 = $2" 'what it was before is not known'
}
left_aside() {
  for place in /etc/cni/net.d/*.cilium_bak; do
    [ ! -e "$place" ] || left file "$place" 'Cilium has put aside what is of others'
  done
}
left_unseen() { command -v "$1" >/dev/null || left "$2" "$1" 'is not here to look with'; }
"""
)
"""Of all kinds but rules of iptables (remainrules.py)."""
