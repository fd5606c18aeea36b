"""The script that gathers a host's facts: one exec, one answer of parts, each after a line `=NAME`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.shell.assemble import refusing_chains
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

# Nothing is started that the shell can do by itself: each program costs a millisecond a host, and a dozen of them were
# half of the facts' time. All is said at once, because each line by itself would be a packet. Of the kubelet's client
# file only the certificate is read; the key stays where it is.
_GATHER = """
part() { echo "=$1"; }
lines() {
  [ ! -r "$1" ] || while IFS= read -r line || [ -n "$line" ]; do printf '%s\\n' "$line"; done <"$1"
}
facts=$(
part kernel; uname -s -r -m
part user; while read -r key id line; do [ "$key" != Uid: ] || { echo "$id"; break; }; done </proc/self/status
part hostname; lines /proc/sys/kernel/hostname
part os; lines /etc/os-release
part clock; date +%s
part swap; lines /proc/swaps
part cpus; lines /sys/devices/system/cpu/online
part memory; read -r line </proc/meminfo; echo "$line"
part links
ip -o -batch - 2>/dev/null <<'END' || { ip -o addr show; ip route show default; ip -o link show; } 2>/dev/null || :
addr show
route show default
link show
END
part rp_filter; for f in /proc/sys/net/ipv4/conf/*; do
  l=${f##*/}
  case $l in cali* | veth*) continue ;; esac
  read -r line <"$f/rp_filter"
  echo "$l $line"
done 2>/dev/null
part iptables; if read -r line </proc/net/ip_tables_names; then
  for t in legacy nft; do
    "iptables-$t-save" | sed -n "s/^:FORWARD DROP.*/$t drop/p; s/^-A .*/$t rule/p" | sort -u
  done
fi 2>/dev/null
part init; lines /proc/1/comm
part tools; for t in tar gzip ip modprobe systemctl flock sha256sum xargs stat; do
  command -v "$t" >/dev/null || echo "$t"
done
f=/var/lib/provision/state/state.json
part state; [ ! -e "$f" ] || { cat "$f"; echo; }
f=/var/lib/provision/state/network.json
part network_record; [ ! -e "$f" ] || { cat "$f"; echo; }
f=/var/lib/provision/owned
part owned; [ ! -e "$f" ] || { cat "$f"; echo; }
f=/run/systemd/resolve/resolv.conf
part resolver; lines /etc/resolv.conf; [ ! -e "$f" ] || { echo systemd-resolved; lines "$f"; }
part machine; lines /etc/machine-id
part network_manager; [ ! -d /etc/NetworkManager/conf.d ] || echo there
part selinux; lines /sys/fs/selinux/enforce
part mark; lines /var/lib/provision/cluster.json
part change; lines /var/lib/provision/last-change
part endpoint; while read -r key server; do [ "$key" != server: ] || echo "$server"; done \
  2>/dev/null </etc/kubernetes/kubelet.kubeconfig || :
[ ! -d /var/lib/provision/endpoint ] && [ ! -d /var/lib/provision/endpoint.back ] || echo switching
f=/etc/keepalived/keepalived.conf
part peers; [ ! -e "$f" ] || sed -n '/^ *unicast_peer {/,/}/{/[{}]/d;p;}' "$f" || :
part etcd; [ ! -d /var/lib/etcd/member ] || echo data; lines /etc/kubernetes/etcd-seed.env
f=/var/lib/kubelet/pki/kubelet-client-current.pem
part kubelet; [ ! -e "$f" ] || sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$f"
)
printf '%s\\n' "$facts"
"""
# Built in, loaded, or a file that may be compressed: .ko, .ko.gz, .ko.xz, .ko.zst.
_MODULES = """
echo '=modules'
k=/lib/modules/$(uname -r)
for m in %s; do
  if [ -d "/sys/module/$m" ] || grep -qE "/${m}[.]ko" "$k/modules.builtin" "$k/modules.dep" 2>/dev/null; then
    echo "$m"
  fi
done
"""
# Which packages are not there, by what the package manager keeps of each: a program would cost more than all else.
# Only when one is missing it is asked whether the host reaches its package sources: by fetching the first file that an
# update of the lists would fetch of each of three servers, with the manager's own settings. A server that answers that
# it has no such file is reached, too; so are folders and discs.
_PACKAGES = """
echo '=packages'
miss=
id=
version=
while IFS='=' read -r key line; do
  line=${line#\\"}
  line=${line%%\\"}
  case $key in
    ID) id=$line ;;
    VERSION_ID) version=$line ;;
  esac
done </etc/os-release
case $id-$version in
%(cases)s
esac
for n in "$@"; do
  if [ -d /var/lib/dpkg/info ]; then
    # Libraries' files name their architecture, too.
    for f in "/var/lib/dpkg/info/$n.md5sums" "/var/lib/dpkg/info/$n":*.md5sums; do
      [ ! -e "$f" ] || continue 2
    done
    miss="$miss $n"
  elif command -v rpm >/dev/null; then
    rpm -q --quiet -- "$n" || miss="$miss $n"
  fi
done
for n in $miss; do echo "$n"; done
echo '=sources'
if [ -z "$miss" ]; then :
elif command -v apt-get >/dev/null; then
  f=/run/provision-sources.$$
  apt-get --print-uris update 2>/dev/null | sed -n "s/^'\\([^']*\\)'.*/\\1/p" | sort -u -t/ -k1,3 | head -n 3 >"$f.all"
  reached=
  while [ -z "$reached" ] && read -r u; do
    case $u in
      [fc]*:/*) reached=1 ;;
      *) timeout 6 /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::http::Timeout=4 \\
        -o Acquire::https::Timeout=4 download-file "$u" "$f" >"$f.said" 2>&1 </dev/null && reached=1 ||
        ! grep -q ' 40[0-9] ' "$f.said" || reached=1 ;;
    esac
  done <"$f.all"
  rm -f -- "$f" "$f.all" "$f.said"
  [ -n "$reached" ] || echo unreachable
elif command -v dnf >/dev/null; then
  timeout 30 dnf -q makecache >/dev/null 2>&1 || echo unreachable
elif command -v yum >/dev/null; then
  timeout 30 yum -q makecache >/dev/null 2>&1 || echo unreachable
else
  echo unreachable
fi
"""
# The firewall that is at work, and what it says: firewalld's or ufw's own words, else the tables that drop something of
# what comes in or passes through, in such a chain or in one that it leads to. iptables' tables are among them where it
# works through nftables. What kube-proxy and flannel put there is left out: it is the cluster's own.
_FIREWALL = r"""
echo '=firewall'
if command -v firewall-cmd >/dev/null && firewall-cmd -q --state 2>/dev/null; then
  echo firewalld
  firewall-cmd --list-all
  firewall-cmd --list-all-zones
  for s in provision provision-nodes provision-routers; do
    [ ! -e "/etc/firewalld/services/$s.xml" ] || firewall-cmd --info-service="$s" 2>/dev/null || :
  done
elif grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf && command -v ufw >/dev/null; then
  echo ufw
  ufw status verbose
elif command -v nft >/dev/null; then
  shown=
  nft list chains 2>/dev/null | while read -r a b c d line; do
    case $a in
      table) family=$b table=$c ;;
      chain) chain=$b ;;
      type)
        case "$b $c $d" in
          'filter hook input' | 'filter hook forward')
            if [ "$shown" != "$family $table" ] && [ "$table" != kube-proxy ] && [ "$table" != provision-api-door ] &&
              refuses "$family" "$table" "$chain"; then
              shown="$family $table"
              nft list table "$family" "$table"
            fi ;;
        esac ;;
    esac
  done >/run/provision-firewall.$$
  [ ! -s /run/provision-firewall.$$ ] || { echo nftables; cat /run/provision-firewall.$$; }
  rm -f /run/provision-firewall.$$
fi
"""
# Whether this is a machine of its own.
_LINKS = """
echo '=virtual'
systemd-detect-virt 2>/dev/null || :
"""
# Links that attachments name: a line each of its name, whether it is wireless, and what `ip` says of it.
_MASTERS = r"""
echo '=masters'
for l in %s; do
  said=$(ip -o -d link show dev "$l" 2>/dev/null) || continue
  w=wired
  [ ! -e "/sys/class/net/$l/phy80211" ] || w=wireless
  printf '%%s %%s %%s\n' "$l" "$w" "$said"
done
"""
# By which link, and from which address, the kernel sends to an address: routes and rules as they are by then.
_TOWARDS = r"""
echo '=towards'
a=%s
said=$(ip -o route get "$a" 2>/dev/null) || said=
printf '%%s %%s\n' "$a" "$said"
"""
# Whether somebody on the link answers for an address that load balancers are to share: `use` makes the kernel ask by
# ARP or NDP, twice in this time; who answers does so within milliseconds. Where keepalived has it nobody is asked.
_CLAIMED = r"""
echo '=claimed'
a=%s
link=$(ip -o route get "$a" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
if grep -qswF -- "$a" /etc/keepalived/keepalived.conf; then
  echo kept
elif [ -n "$link" ] && [ "$link" != lo ]; then
  ip neigh del "$a" dev "$link" 2>/dev/null || :
  ip neigh add "$a" dev "$link" use 2>/dev/null || ping -c 1 -W 1 "$a" >/dev/null 2>&1 || :
  n=0
  while [ "$n" -lt 12 ]; do
    sleep 0.1
    said=$(ip neigh show to "$a" dev "$link")
    case $said in *' lladdr '*) break ;; esac
    n=$((n + 1))
  done
  printf '%%s\n' "$said" | sed -n 's/.* lladdr \([^ ]*\).*/\1/p'
  ip neigh del "$a" dev "$link" 2>/dev/null || :
fi
"""
# Kernel settings that cannot be made here: those that the kernel does not have, and those that are the machine's and
# not this host's, where that is a container. The first one only a machine has.
_SETTINGS = """
echo '=settings'
set -- /proc/sys/net/core/netdev_max_backlog %s
for f in "$@"; do
  if [ ! -e "$f" ]; then
    echo "missing $f"
  elif [ ! -w "$f" ]; then
    echo "fixed $f"
  fi
done
echo '=drivers'
for f in /sys/class/net/*/device/driver; do
  [ -e "$f" ] || continue
  d=$(readlink -f "$f")
  f=${f%%/device/driver}
  echo "${f##*/} ${d##*/}"
done
echo '=lowers'
for f in /sys/class/net/*/lower_*; do
  case $f in *'*' | */lower_cali* | */lower_lxc* | */lower_veth*) continue ;; esac
  d=${f%%/lower_*}
  echo "${d##*/} ${f##*/lower_}"
done
"""
# What somebody else's cluster is made of, by its folders, its units, and what those name: small files only, each as a
# line of its path and its content. Logs may be small, too, and are none of it.
_EXISTING = """
echo '=existing'
file() {
  case $1 in *.log) return 0 ;; esac
  [ -f "$1" ] && [ "$(stat -Lc %%s -- "$1")" -le 131072 ] || return 0
  printf '%%s ' "$1"
  base64 -w0 <"$1"
  echo
}
for f in %(kubernetes)s/cfg/* %(kubernetes)s/ssl/* %(etcd)s/cfg/* %(etcd)s/ssl/* %(admin)s; do file "$f"; done
for u in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
  f=$(systemctl show --property=FragmentPath --value -- "$u.service" 2>/dev/null) || f=
  [ -z "$f" ] || { printf 'unit:'; file "$f"; }
done
grep -hos '=/[^" ,\\\\]*' %(kubernetes)s/cfg/*.conf | sed 's/^=//' | sort -u | while read -r f; do
  case $f in %(kubernetes)s/* | %(etcd)s/*) ;; *) file "$f" ;; esac
done
f=%(kubernetes)s/bin/kube-apiserver
[ ! -x "$f" ] || { printf '%%s ' "$f"; "$f" --version | base64 -w0; echo; }
f=/opt/kubernetes/bin/kubectl
[ ! -e "$f" ] || echo "$f "
"""
_END = "echo '=end'\n"
PARTS = re.findall(r"^part (\w+)", _GATHER, re.MULTILINE)
"""Those that every answer has."""


def facts_script(
    modules: Sequence[str] = (),
    packages: Mapping[str, Sequence[str]] | None = None,
    *,
    firewall: bool = False,
    links: bool = False,
    address: str = "",
    existing: Mapping[str, str] | None = None,
    settings: Sequence[str] | None = None,
    masters: Sequence[str] = (),
    towards: str = "",
) -> Script:
    """Prints the parts, each after a line `=NAME`. `modules` of the kernel are looked for, and `packages`, by
    patterns of the distribution's ID and VERSION_ID with a hyphen between ("debian-12", "*"); a `firewall`, too, with
    `links` what the machine is made of, and who has the `address` on the link; and files of a cluster that is there, by
    the paths `existing` (kubernetes, etcd, admin: folders, and a kubeconfig); links by name (`masters`), and the way
    `towards` an address. With `settings`, paths of the kernel's, which of them cannot be made, the drivers of links,
    and links that others lie upon."""
    cases = "\n".join(f"{key}) set -- {words(each)} ;;" for key, each in (packages or {}).items())
    return Script(
        _GATHER
        + (_MODULES % words(modules) if modules else "")
        + (_PACKAGES % {"cases": cases} if packages else "")
        + (refusing_chains() + _FIREWALL if firewall else "")
        + (_LINKS if links else "")
        + (_CLAIMED % quote(address) if address else "")
        + (_TOWARDS % quote(towards) if towards else "")
        + (_MASTERS % words(masters) if masters else "")
        + (_EXISTING % {name: quote(path) for name, path in existing.items()} if existing else "")
        + ("" if settings is None else _SETTINGS % words(settings))
        + _END
    )
