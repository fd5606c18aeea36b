"""Functions of sh that find the rules of iptables that a pod network plug-in has left, in both kinds of tables.

A table's lines go by one iptables-restore: all or none of them, so that no rule leads to a chain that is gone. They
take `chains`, `comments` and `networks`, extended regular expressions, and `ports`: set where nothing on the host
publishes ports by CNI any more but containers that run."""

from __future__ import annotations

from typing import Final

RULES: Final = r"""
# The programs by which all rules are seen: both kinds where they are told apart.
tools() {
  for each in iptables ip6tables; do
    apart=
    for kind in legacy nft; do
      if command -v "$each-$kind" >/dev/null; then apart=1 && echo "$each-$kind"; fi
    done
    [ -n "$apart" ] || ! command -v "$each" >/dev/null || echo "$each"
  done
}
# The kernel makes a table of the older kind when it is asked for it: only those that are there are looked at.
tables() {
  case $1 in
    *-nft) echo raw mangle nat filter ;;
    *-legacy) cat "/proc/net/${1%tables-legacy}_tables_names" 2>/dev/null ;;
    *) if uses_nft "$1"; then tables "$1-nft"; else tables "$1-legacy"; fi ;;
  esac
}
uses_nft() { "$1" -V 2>/dev/null | grep -q nf_tables; }
lines() { printf '%s\n' "$1" | grep .; }
declared() { lines "$said" | sed -nE "s/^-N ($1)\$/\1/p"; }
# Ports and masquerading of containers in the networks, as `CONTAINER CHAIN`.
published() {
  named='name: ["\\]*('$networks')["\\]+ id: ["\\]*([0-9A-Za-z]+)["\\]+'
  lines "$said" | sed -nE "s/^-A .*$named.* -j (CNI-(DN-)?[0-9a-f]+)( .*)?\$/\2 \3/p" | sort -u
}
ended() { published | while read -r id chain; do alive "$id" || echo "$chain"; done; }
# Chains of the CNI plug-ins that no container has, beside those that go: $1.
unused() {
  used=$(lines "$said" | sed -nE 's/.* -j (CNI-(DN-)?[0-9a-f]+)( .*)?$/\1/p' | grep -vxF -e "$1")
  declared 'CNI-(DN-)?[0-9a-f]+' | grep -vxF -e "${used:-/}"
  [ -n "$used" ] || declared 'CNI-HOSTPORT-(DNAT|SETMARK|MASQ|SNAT)'
  lines "$said" | grep -E '^-A CNI-(FORWARD|ADMIN|ISOLATION-STAGE-[12]) ' | grep -qv -e ' -j CNI-' ||
    declared 'CNI-(FORWARD|ADMIN|ISOLATION-STAGE-[12])'
}
# What is to go from a table whose rules are in `said`, as iptables-restore reads it: rules elsewhere that lead to the
# plug-in's chains or bear its comments, then these chains, and those of containers that have ended.
going() {
  over=$(declared "$chains"; ended)
  [ -z "$ports" ] || over="$over
$(unused "${over:-/}")"
  over=$(lines "$over" | sort -u)
  among=" $(lines "$over" | tr '\n' ' ')"
  lines "$said" | sed -nE -e "s/^-A ([^ ]+) .*--comment \"?($comments).*/\1 - &/p;t" \
    -e 's/^-A ([^ ]+) .*-[jg] ([^ ]+)( .*)?$/\1 \2 &/p' | while read -r chain target rule; do
    case $among in *" $chain "*) continue ;; esac
    case "${among}- " in *" $target "*) echo "-D ${rule#-A }" ;; esac
  done
  lines "$over" | sed 's/^/-F /'
  lines "$over" | sed 's/^/-X /'
}
# Does WHAT with each table.
each_table() {
  for tool in $(tools); do
    for table in $(tables "$tool"); do
      said=$("$tool" -w -t "$table" -S 2>/dev/null) || said=unread
      "$1"
    done
  done
}
look_at_table() {
  [ "$said" != unread ] || { left table "$tool $table" 'it cannot be read with this program'; return; }
  going | sed -nE "s/^-D (.*)/filter rule$tab$tool $table \1/p;s/^-X (.*)/chain$tab$tool $table \1/p" |
    while IFS="$tab" read -r kind name; do told "$kind" "$name"; done
  published | while read -r id chain; do
    ! alive "$id" || told chain "$tool $table $chain" "container ${id%"${id#????????????}"} runs"
  done
  [ "$networks" = "$never" ] || [ -z "$(declared CNI-HOSTPORT-DNAT)" ] || going | grep -qx -e '-X CNI-HOSTPORT-DNAT' ||
    left chain "$tool $table CNI-HOSTPORT-*" 'for published ports of any CNI network'
  # It came with a first rule, of whomever; legacy tables go with their modules.
  case $tool in
    iptables-nft) family=ip ;;
    ip6tables-nft) family=ip6 ;;
    *) return ;;
  esac
  ! nft list table "$family" "$table" >/dev/null 2>&1 || lines "$said" | grep -qvxE -e '-P [A-Z]+ ACCEPT' ||
    left table "$family $table" "iptables' own, and empty"
}
clean_table() {
  [ "$said" != unread ] || return
  wanted=$(going)
  [ -n "$wanted" ] || return
  printf '*%s\n%s\nCOMMIT\n' "$table" "$wanted" | "$tool-restore" -w --noflush 2>/dev/null ||
    lines "$wanted" | while read -r line; do eval "$tool -w -t $table $line" 2>/dev/null </dev/null || :; done
}
# Tables of iptables whose program is not here: those of the older kind need their own one.
left_unread() {
  for ip in ip ip6; do
    tools | grep -q "^${ip}tables" ||
      nft list tables "$ip" 2>/dev/null | grep -xE "table $ip (raw|mangle|nat|filter)" |
      while read -r _ name; do left table "$name" "iptables' own, which is not here to look with"; done
    [ -z "$(cat "/proc/net/${ip}_tables_names" 2>/dev/null)" ] || is_older "${ip}tables" ||
      left table "${ip}tables-legacy" 'is not here to look with, and the kernel has such tables'
  done
}
is_older() {
  command -v "$1-legacy" >/dev/null || { command -v "$1" >/dev/null && ! uses_nft "$1"; }
}
"""
