"""What a node has of its pods' networks: the script that reads it (cniread.py has its parser).

Facts: containernetworking/plugins 1.9, plugins/ipam/host-local/backend/disk; cni 1.3, libcni/conf.go (configurations by
their names' order); containerd 1.6 and 1.7, pkg/cri/server (sandbox_run.go, sandbox_stop.go: the network comes before
the sandbox's container, and goes before it).
"""

from __future__ import annotations

from provisioner.shell.quote import quote
from provisioner.shell.script import Script

LEASES = "/var/lib/cni/networks"
"""Where host-local has a folder for each network, and in it a file for each address."""
RUNTIME_SECONDS = 600
"""How far back the runtime's complaints are looked at."""

# A sandbox that is being made has its address before the runtime lists it, so leases are read before sandboxes, and
# once more behind them. What may be called upon by several runtimes counts for all of their containers.
KNOWN = """
known() {
  spaces=$(ctr namespaces list -q) || return 1
  for space in $spaces; do ctr -n "$space" containers list -q || return 1; done
}
adding() { grep -hao 'CNI_CONTAINERID=[0-9A-Za-z_.-]*' /proc/[0-9]*/environ 2>/dev/null | sort -u; :; }
used() { stat -Lc %i /proc/[0-9]*/ns/net 2>/dev/null | sort -u; }
"""
"""Functions of sh: `known` prints the ids of all containers of the runtime, `adding` those for which a CNI plug-in is
just at work, `used` the network namespaces that processes live in, by inode."""

LEASE_ID = r"""
cr=$(printf '\r')
lease_id() {
  id=
  { IFS= read -r id <"$1"; } 2>/dev/null || :
  id=${id%"$cr"}
}
"""
"""`lease_id FILE` puts into `id` for which container host-local has given an address away."""

_READ = r"""
LC_ALL=C
export LC_ALL
say() {
  name=$1
  shift
  "$@" >"$W/out" 2>"$W/err" && s=0 || s=$?
  echo "=$name $s"
  cat "$W/out"
  [ "$s" -eq 0 ] || tail -n 3 "$W/err"
  echo
}
leases() {
  for f in LEASES/*/*; do
    case ${f##*/} in lock | last_reserved_ip.* | '*') continue ;; esac
    [ -f "$f" ] || continue
    lease_id "$f"
    changed=$(stat -c %Y -- "$f" 2>/dev/null) || continue
    echo "$changed ${id:--} $f"
  done
}
# Whose network is left: the address, and whether a process lives there.
left() {
  leases | cut -d ' ' -f 2 | sort -u | grep -vxFf "$W/known" >/dev/null || return 0
  used >"$W/used"
  for place in /run/netns/*; do
    inode=$(stat -Lc %i -- "$place" 2>/dev/null) || continue
    lives=dead
    ! grep -qx "$inode" "$W/used" || lives=used
    ip -n "${place##*/}" -o addr show scope global 2>/dev/null | sed -nE 's/.* inet6? ([^ /]+).*/\1/p' |
      while read -r address; do echo "$lives $address ${place##*/}"; done
  done
}
setting() { tr -d "[]\"' " <"$W/dump" | sed -nE "s/^$1=([^,]+).*/\1/p" | head -n 1; }
configuration() {
  for f in "$conf"/*; do
    case $f in *.conf | *.conflist | *.json) ;; *) continue ;; esac
    [ -f "$f" ] || continue
    echo "$f $(base64 <"$f" | tr -d '\n')"
    return 0
  done
}
# Only what is named is looked at, and nothing is run that could be no program.
binaries() {
  configuration | cut -d ' ' -f 2 | base64 -d 2>/dev/null |
    grep -o '"type"[[:space:]]*:[[:space:]]*"[A-Za-z0-9._-]*"' | cut -d '"' -f 4 >"$W/types"
  printf '%s\n' loopback bridge host-local | sort -u - "$W/types" | while read -r t; do
    f=$bin/$t
    if [ ! -e "$f" ]; then echo "$t is not there"
    elif [ ! -s "$f" ]; then echo "$t is empty"
    elif [ ! -x "$f" ]; then echo "$t may not be executed"
    else
      case $(head -c 4 -- "$f" | od -An -c | tr -d ' \n') in '177ELF' | '#!'*) ;; *) echo "$t is no program" ;; esac
    fi
  done
}
complaints() {
  journalctl -u containerd.service -o short-unix --since=-SECONDS --no-pager -q 2>/dev/null |
    grep -E 'failed to destroy network for sandbox|TearDown network for sandbox .* successfully' | tail -n 2000 |
    cut -c 1-1200
}
: >"$W/known"
containerd config dump >"$W/dump" 2>/dev/null || : >"$W/dump"
bin=$(setting 'bin_dirs?')
bin=${bin:-/opt/cni/bin}
conf=$(setting conf_dir)
conf=${conf:-/etc/cni/net.d}
say now date +%s
say leases leases
say known known
cp -- "$W/out" "$W/known"
say adding adding
say again leases
say left left
say sandboxes ctr -n k8s.io containers list -q 'labels."io.cri-containerd.kind"==sandbox'
cp -- "$W/out" "$W/sandboxes"
say tasks ctr -n k8s.io tasks list
say folders echo "$bin $conf"
say configuration configuration
say binaries binaries
say bridges ip -o addr show type bridge
say subnet cat /run/flannel/subnet.env
complaints >"$W/complaints" || :
say complaints cat "$W/complaints"
grep -oE 'for sandbox [^0-9a-f]*[0-9a-f]{64}' "$W/complaints" | grep -oE '[0-9a-f]{64}' | sort -u |
  grep -xFf "$W/sandboxes" | while read -r sandbox; do
  say "sandbox-$sandbox" ctr -n k8s.io containers info "$sandbox"
done
"""


def read_script(leases: str = LEASES) -> Script:
    """Reads a node. `leases` is where host-local's folders are."""
    text = _READ.replace("LEASES", quote(leases)).replace("SECONDS", f"{RUNTIME_SECONDS}s")
    return Script(KNOWN + LEASE_ID + text)
