"""Packages that came by us go again, with what only they needed: with the host's real package manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from provisioner.resources.owned import parse_owned
from provisioner.resources.package import brought
from provisioner.resources.packageremoval import PackagesLeft, parse_removal, removal_script

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]

REPOSITORY = r"""
set -eu
mkdir -p /srv/tree
cd /srv/tree
make() { # NAME DEPENDS
  mkdir -p "$1/DEBIAN" "$1/etc" "$1/lib/systemd/system"
  printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' "$1" \
    >"$1/DEBIAN/control"
  [ -z "$2" ] || echo "Depends: $2" >>"$1/DEBIAN/control"
  echo "/etc/$1.conf" >"$1/DEBIAN/conffiles"
  echo "$1" >"$1/etc/$1.conf"
  printf '[Service]\nExecStart=/bin/sleep 1000\n' >"$1/lib/systemd/system/$1.service"
  dpkg-deb -b "$1" "$1.deb" >/dev/null
  { cat "$1/DEBIAN/control"; echo "Filename: ./$1.deb"; echo "Size: $(stat -c %s "$1.deb")"
    echo "SHA256: $(sha256sum "$1.deb" | cut -d' ' -f1)"; echo; } >>Packages
}
: >Packages
make app 'only-its, shared'
make only-its ''
make shared ''
make there ''
make used ''
make theirs 'shared'
make late 'only-its'
echo 'deb [trusted=yes] file:/srv/tree ./' >/etc/apt/sources.list.d/tree.list
apt-get -q update >/dev/null
"""
ALL = "app only-its shared there used theirs late"
WANTED = "- {name: packages, hosts: all, tasks: [{package: {name: [app, there, used]}}]}\n"
FORGOTTEN = "rm -f /var/lib/provision/owned /var/lib/provision/installed*"
NAMED = "package:app, there, used"


@pytest.fixture(scope="module")
def stocked(host: Host) -> Iterator[Host]:
    host.ssh(REPOSITORY)
    yield host
    host.ssh("rm -rf /srv/tree /etc/apt/sources.list.d/tree.list; apt-get -q update >/dev/null")
    host.ssh(FORGOTTEN)


@pytest.fixture
def bare(stocked: Host) -> Host:
    """None of them is there, and nothing is known of any."""
    stocked.ssh(f"systemctl stop used; dpkg --purge {ALL} >/dev/null 2>&1; {FORGOTTEN}")
    return stocked


def remove(host: Host, *asked: str, kept: tuple[str, ...] = ()) -> PackagesLeft:
    main = removal_script(asked, kept, ()).main
    return parse_removal(host.ssh(f"W=$(mktemp -d); export W\n{main}"))


def there(host: Host) -> set[str]:
    return set(host.ssh(f"dpkg-query -W -f '${{Package}} ' {ALL} 2>/dev/null || :").split())


def test_what_came_by_us_goes_and_nothing_else(bare: Host) -> None:
    bare.ssh("apt-get -qy install there >/dev/null")
    bare.write("book.yaml", WANTED)
    bare.apply()
    known = parse_owned(bare.ssh("cat /var/lib/provision/owned"))
    assert brought(known[NAMED]) == ("app", "used")
    bare.ssh("apt-get -qy install theirs >/dev/null; systemctl start used")
    found = remove(bare, "app", "used")
    assert set(found.gone) == {"app", "only-its"}
    assert found.stays == {"shared": "needed by others", "used": "used.service runs"}
    assert there(bare) == {"shared", "there", "theirs", "used"}
    assert bare.ssh("ls /etc/app.conf 2>/dev/null || echo none") == "none"
    bare.ssh("systemctl stop used; dpkg --purge theirs >/dev/null")
    assert set(remove(bare, "app", "used").gone) == {"shared", "used"}
    assert there(bare) == {"there"}


def test_packages_stay_when_nobody_asks_for_that(bare: Host) -> None:
    bare.write("book.yaml", WANTED)
    bare.apply()
    bare.write("book.yaml", "- {name: packages, hosts: all, tasks: [{package: {name: [there]}}]}\n")
    assert bare.plan() == {}
    bare.apply()
    assert {"app", "only-its", "used"} <= there(bare)


def test_what_is_kept_is_needed(bare: Host) -> None:
    bare.write("book.yaml", WANTED)
    bare.apply()
    assert set(remove(bare, "app", "used", kept=("shared",)).gone) == {"app", "only-its", "used"}


def test_what_people_installed_after_a_killed_run_is_theirs(bare: Host) -> None:
    """The run had noted what there was, and was killed before it counted what came."""
    bare.write("book.yaml", WANTED)
    bare.apply()
    bare.ssh(f"dpkg --purge {ALL} >/dev/null 2>&1; rm /var/lib/provision/installed")
    bare.ssh("""LC_ALL=C; export LC_ALL; cd /var/lib/provision; echo late >installed.asked
        dpkg-query -W -f '${Package}\\n' | sort -u >installed.before
        apt-get -qy install late >/dev/null
        apt-get -qy install theirs >/dev/null""")
    assert set(remove(bare, "late").gone) == {"late", "only-its"}
    assert there(bare) == {"theirs", "shared"}
