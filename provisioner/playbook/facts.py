"""Facts of a host: one script, one exec. What the compiler may know before anything is read in detail."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import said
from provisioner.shell.quote import words
from provisioner.shell.script import Script

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
ARCHITECTURES = frozenset(_ARCHITECTURES.values())
"""As facts name them."""

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
ip -o -batch - 2>/dev/null <<'END' || { ip -o addr show; ip route show default; } 2>/dev/null || :
addr show
route show default
END
part init; lines /proc/1/comm
part tools; for t in tar gzip ip modprobe systemctl flock sha256sum xargs stat; do
  command -v "$t" >/dev/null || echo "$t"
done
f=/var/lib/provision/state/state.json
part state; [ ! -e "$f" ] || { cat "$f"; echo; }
f=/var/lib/provision/owned
part owned; [ ! -e "$f" ] || { cat "$f"; echo; }
part resolver; lines /etc/resolv.conf; [ ! -e /run/systemd/resolve/resolv.conf ] || echo systemd-resolved
part machine; lines /etc/machine-id
part selinux; lines /sys/fs/selinux/enforce
part mark; lines /var/lib/provision/cluster.json
part change; lines /var/lib/provision/last-change
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
led_to() {
  IFS=$(printf ' \t\n,{}')
  set -f
  last=
  for word in $rules; do
    case $last in jump | goto) echo "$word" ;; esac
    last=$word
  done
}
refuses() {
  todo=$3
  seen=' '
  while [ -n "$todo" ]; do
    next=
    for n in $todo; do
      case $seen$n in
        *" $n "* | *' KUBE-'* | *' FLANNEL-'*) continue ;;
      esac
      seen="$seen$n "
      rules=$(nft list chain "$1" "$2" "$n" 2>/dev/null)
      # A rule for one address alone (fail2ban's) is no firewall.
      ! printf '%s\n' "$rules" | grep -vE '^[[:space:]]*ip6? saddr [0-9a-f.:]+ ' |
        grep -qE 'policy drop|[[:space:]](drop|reject)|xt target "?REJECT' || return 0
      next="$next $(led_to)"
    done
    todo=${next# }
  done
  return 1
}
if command -v firewall-cmd >/dev/null && firewall-cmd -q --state 2>/dev/null; then
  echo firewalld
  firewall-cmd --list-all
  firewall-cmd --list-all-zones
  [ ! -e /etc/firewalld/services/provision.xml ] || firewall-cmd --info-service=provision 2>/dev/null || :
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
            if [ "$shown" != "$family $table" ] && [ "$table" != kube-proxy ] &&
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
_END = "echo '=end'\n"
_PARTS = re.findall(r"^part (\w+)", _GATHER, re.MULTILINE)
_START_FILES = "look at the host's login shell and its start files"


@dataclass(frozen=True)
class Facts:
    """`clock_skew` is in seconds, the host's clock less ours; `memory` in KiB; `cpus` are online, 0 when that
    is not known; `addresses` by link;
    `resolver` is the resolv.conf that pods are to inherit; `modules` those of the kernel that were asked for and are
    there, loaded or not. `missing_packages` are those that were asked for and are not installed; only then
    `package_sources` tells whether the host reaches the sources of its own package manager. `firewall` is the one
    at work (firewalld, ufw, nftables; "" for none that drops what comes in or passes through), `filters` what it says.
    `selinux`: the kernel has it, and a policy is loaded, whether that is enforced or not.

    `mark` and `kubelet_certificate` are texts of the cluster's own files, `owned` what the host remembers to be ours
    (resources.owned), "" when there are none; `state`, which holds the cluster's keys, is None then. `last_change`
    names the script of ours that changed the host last.
    """

    architecture: str
    kernel: str
    hostname: str
    os_id: str
    os_version: str
    clock_skew: float
    swap: bool
    memory: int
    addresses: Mapping[str, tuple[str, ...]]
    default_link: str
    missing_tools: tuple[str, ...] = ()
    root: bool = True
    state: Secret | None = None
    resolver: str = "/etc/resolv.conf"
    machine_id: str = ""
    mark: str = ""
    owned: str = field(default="", repr=False)
    last_change: str = ""
    kubelet_certificate: str = field(default="", repr=False)
    modules: tuple[str, ...] = ()
    os_like: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    package_sources: bool = True
    firewall: str = ""
    filters: str = field(default="", repr=False)
    cpus: int = 0
    selinux: bool = False

    @property
    def platform(self) -> str:
        """As the bundle names it ("linux/amd64")."""
        return f"linux/{self.architecture}"


def facts_script(
    modules: Sequence[str] = (),
    packages: Mapping[str, Sequence[str]] | None = None,
    *,
    firewall: bool = False,
) -> Script:
    """Prints the parts, each after a line `=NAME`. `modules` of the kernel are looked for, and `packages`, by
    patterns of the distribution's ID and VERSION_ID with a hyphen between ("debian-12", "*"); a `firewall`, too."""
    cases = "\n".join(f"{key}) set -- {words(each)} ;;" for key, each in (packages or {}).items())
    return Script(
        _GATHER
        + (_MODULES % words(modules) if modules else "")
        + (_PACKAGES % {"cases": cases} if packages else "")
        + (_FIREWALL if firewall else "")
        + _END
    )


def parse_facts(host: str, output: bytes, asked_at: float) -> Facts:
    """`asked_at`: our clock when the script was sent. Raises ProvisionError when the host cannot be used."""
    parts = _parts(output.decode(errors="replace"))
    if "end" not in parts:
        raise ProvisionError(f"{host}: the facts ended early", _START_FILES)
    missing = [name for name in _PARTS if name not in parts]
    if missing:
        raise ProvisionError(f"{host}: the facts are garbled: there is no part '{missing[0]}'", _START_FILES)
    system, kernel, machine = [*parts["kernel"].split(), "", "", ""][:3]
    if system != "Linux" or machine not in _ARCHITECTURES:
        raise ProvisionError(
            f"{host}: {system} on {machine} is not supported", "hosts need Linux on amd64 or arm64"
        )
    if parts["init"].strip() != "systemd":
        raise ProvisionError(f"{host}: its init is {parts['init'].strip()}, not systemd")
    os_release = dict(line.split("=", 1) for line in parts["os"].splitlines() if "=" in line)
    route = next((line.split() for line in parts["links"].splitlines() if line.startswith("default ")), [])
    return Facts(
        architecture=_ARCHITECTURES[machine],
        kernel=kernel,
        hostname=parts["hostname"].strip(),
        os_id=os_release.get("ID", "").strip('"'),
        os_version=os_release.get("VERSION_ID", "").strip('"'),
        clock_skew=_number(host, "clock", parts["clock"]) + 0.5 - (asked_at + time.time()) / 2,
        swap=len(parts["swap"].splitlines()) > 1,
        memory=_number(host, "memory", parts["memory"]),
        addresses=_addresses(parts["links"]),
        default_link=next(iter(route[route.index("dev") + 1 :]), "") if "dev" in route else "",
        missing_tools=tuple(parts["tools"].split()),
        root=parts["user"].strip() == "0",
        state=Secret.text(parts["state"]) if parts["state"] else None,
        resolver=_resolver(parts["resolver"].splitlines()),
        machine_id=parts["machine"].strip(),
        mark=parts["mark"],
        owned=parts["owned"],
        last_change=parts["change"].strip(),
        kubelet_certificate=parts["kubelet"],
        modules=tuple(parts.get("modules", "").split()),
        os_like=tuple(os_release.get("ID_LIKE", "").strip('"').split()),
        missing_packages=tuple(parts.get("packages", "").split()),
        package_sources="unreachable" not in parts.get("sources", ""),
        firewall=parts.get("firewall", "").partition("\n")[0],
        filters=parts.get("firewall", "").partition("\n")[2],
        cpus=_count(parts["cpus"]),
        selinux=bool(parts["selinux"].strip()),
    )


def _count(ranges: str) -> int:
    """Of "0-3,6"; 0 for what is none (kernel.org, Documentation/admin-guide/cputopology.rst)."""
    found = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return sum(int(last or first) - int(first) + 1 for first, last in found)


def _number(host: str, part: str, text: str) -> int:
    """The number in a part of one line."""
    found = re.fullmatch(r"(?:MemTotal:\s*)?([0-9]{1,18})(?: kB)?\s*", text)
    if found is None:
        raise ProvisionError(
            f"{host}: the facts are garbled: {said(text.strip())} is no {part}", _START_FILES
        )
    return int(found[1])


def _resolver(lines: Sequence[str]) -> str:
    """The file whose name servers pods can use. A loop-back address is the pod's own there, and CoreDNS would ask
    itself for ever (its plug-in `loop`); systemd-resolved keeps the real ones in another file.
    """
    said = [line.split() for line in lines]
    servers = [each[1] for each in said if len(each) > 1 and each[0] == "nameserver"]
    loops = bool(servers) and all(each.startswith("127.") or each == "::1" for each in servers)
    return (
        "/run/systemd/resolve/resolv.conf" if loops and ["systemd-resolved"] in said else "/etc/resolv.conf"
    )


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for block in ("\n" + text).split("\n=")[1:]:
        name, _, body = block.partition("\n")
        parts[name] = body + "\n" if body else ""
    return parts


def _addresses(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[2] in {"inet", "inet6"}:
            found.setdefault(words[1], []).append(words[3])
    return {link: tuple(addresses) for link, addresses in found.items()}
