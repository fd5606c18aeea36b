"""How a link is cut, and what has to be put back when it is healed.

With a link go its routes, the links of VLANs on it with theirs, and IPv6 addresses unless the kernel is told to keep
them. What the kernel makes again by itself (proto kernel and ra) is left to it; every other route over one of the links
is written down before, one a line, with all its next hops.
"""

from __future__ import annotations

from provisioner.shell.quote import quote

TRIES = 30
"""Half a second between two. A route with an address as its source is refused before that may be used: one of IPv6 a
second or two after its link is up (RFC 4862, section 5.4), one by DHCP once it was asked for again."""

# `ip -o` ends the lines within a route with a backslash. What it prints of the state of things it does not take.
_ROUTES = r"""
routes() {
  ip -"$1" -o route show table all type unicast | tr '\134' ' ' | while read -r line; do
    case " $line " in *" proto kernel "* | *" proto ra "*) continue ;; esac
    over=
    out=
    skip=
    for l in $links; do
      case " $line " in *" dev $l "*) over=yes ;; esac
    done
    [ -n "$over" ] || continue
    for word in $line; do
      case $skip$word in
        skip*) skip= ;;
        linkdown | dead | pervasive | offload | offload_failed | rt_offload | trap | rt_trap) ;;
        expires | nhid | age | users) skip=skip ;;
        *) out="$out $word" ;;
      esac
    done
    echo "${out# }"
  done
}
"""
_CUT = """
above() {
  for u in /sys/class/net/"$1"/upper_*; do
    [ -e "$u" ] || continue
    u=${u##*/upper_}
    case " $links " in
      *" $u "*) ;;
      *) links="$links $u"; above "$u" ;;
    esac
  done
}
links=%(link)s
above %(link)s
echo "$links" >%(folder)s/links
for family in 4 6; do
  routes "$family" >%(folder)s/routes"$family"
done
for l in $links; do
  [ -z "$(ip -o link show dev "$l" up)" ] || echo "$l" >>%(folder)s/up
  keep=/proc/sys/net/ipv6/conf/$l/keep_addr_on_down
  [ ! -e "$keep" ] || { echo "$l $(cat "$keep")" >>%(folder)s/keep; echo 1 >"$keep"; }
done
sleep 0.3
ip link set dev %(link)s down"""
# A gateway may be reached by a route that comes behind its own, or by one that the kernel makes: hence twice.
_HEAL = """
ip link set dev %(link)s up
links=$(cat %(folder)s/links) || exit 0
while read -r l; do
  ip link set dev "$l" up || :
done <%(folder)s/up
[ ! -e %(folder)s/keep ] || while read -r l keep; do
  echo "$keep" >"/proc/sys/net/ipv6/conf/$l/keep_addr_on_down" || :
done <%(folder)s/keep
missing() {
  routes "$1" >%(folder)s/now
  grep -vxF -f %(folder)s/now %(folder)s/routes"$1" || :
}
n=0
while :; do
  : >%(folder)s/missing
  for family in 4 6; do
    for again in 1 2; do
      missing "$family" | sed 's/^/route replace /' | ip -"$family" -force -batch - 2>%(folder)s/said"$again" || :
    done
    missing "$family" | sed "s/^/ip -$family route add /" >>%(folder)s/missing
  done
  n=$((n + 1))
  if [ ! -s %(folder)s/missing ] || [ "$n" -ge %(tries)s ]; then break; fi
  sleep 0.5
done
if [ -s %(folder)s/missing ]; then
  echo "the link %(link)s is up again, and these of its routes are not:" >&2
  cat %(folder)s/missing %(folder)s/said2 >&2
fi
rm -f %(folder)s/routes? %(folder)s/links %(folder)s/up %(folder)s/keep %(folder)s/now %(folder)s/said?"""

FILES = ("routes?", "links", "up", "keep", "now", "said?", "missing")
"""In the folder; the last one stays, with the commands that were of no use."""


def cutting(link: str, folder: str) -> str:
    """POSIX sh that writes down what will be lost, and takes the link down."""
    return _ROUTES.lstrip() + _CUT.lstrip() % {"link": quote(link), "folder": folder}


def healing(link: str, folder: str) -> str:
    """POSIX sh that puts it back. What is missing even so is in the file `missing` of the folder."""
    parts = {"link": quote(link), "folder": folder, "tries": str(TRIES)}
    return _ROUTES.lstrip() + _HEAL.lstrip() % parts
