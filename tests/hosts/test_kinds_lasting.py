"""What only time shows: units that die after their start; packages of which the host's lists do not know (any more)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]

LIVES = """\
[Service]
ExecStart=/bin/sh -c 'echo born; sleep {seconds}; echo "last words" >&2; exit 3'
{restart}
[Install]
WantedBy=multi-user.target
"""
FALLS = {
    "dies and stays dead": (0.5, "", "Result=exit-code"),
    "dies and is about to be started again": (0.5, "Restart=always\nRestartSec=30", "SubState=auto-restart"),
    "dies and is started again": (0.5, "Restart=always\nRestartSec=50ms\nStartLimitBurst=1000", "NRestarts="),
}
ONE_UNIT = """\
- name: one unit
  hosts: all
  tasks:
    - template: {dest: /etc/systemd/system/mayfly.service, src: mayfly.service.j2}
    - systemd_service: {name: mayfly}
"""


@pytest.mark.parametrize("case", FALLS)
def test_a_unit_that_dies_after_its_start_has_failed(case: str, host: Host) -> None:
    seconds, restart, state = FALLS[case]
    host.write("book.yaml", ONE_UNIT)
    host.write("templates/mayfly.service.j2", LIVES.format(seconds=seconds, restart=restart))
    try:
        said = host.apply(status=1)
        assert "was started, and did not stay" in said
        assert state in said
        assert "last words" in said
        assert "--playbook" in said
    finally:
        host.ssh(
            "systemctl stop mayfly; systemctl disable -q mayfly; systemctl reset-failed mayfly 2>/dev/null || :"
        )


def test_a_unit_that_stays_passes(host: Host) -> None:
    host.write("book.yaml", ONE_UNIT)
    host.write("templates/mayfly.service.j2", LIVES.format(seconds=600, restart=""))
    host.apply()
    assert host.ssh("systemctl is-active mayfly") == "active"
    assert host.plan() == {}


@pytest.fixture
def packaged(host: Host) -> Host:
    """The host's book wants a package, which is not there."""
    host.write("book.yaml", "- {name: one, hosts: all, tasks: [{package: {name: provision-test}}]}\n")
    host.ssh("dpkg --purge provision-test >/dev/null 2>&1")
    return host


def test_lists_of_packages_are_fetched_when_one_is_not_known_and_only_then(packaged: Host) -> None:
    lists = "stat -c '%n %y' /var/lib/apt/lists /var/lib/apt/lists/* | sort"
    packaged.ssh("rm -rf /var/lib/apt/lists/*")
    packaged.apply()
    assert packaged.ssh("dpkg-query -W provision-test") == "provision-test\t1"
    before = packaged.ssh(lists)
    assert "Packages" in before
    packaged.ssh("dpkg --purge provision-test >/dev/null")
    packaged.apply()
    assert packaged.ssh(lists) == before


def test_lists_that_name_a_file_that_is_gone_are_fetched_anew(packaged: Host) -> None:
    """The repository has gone on to another version since the lists were fetched."""
    newer = "cd /srv/deb; sed -i 's/^Version: .*/Version: 2/' pkg/DEBIAN/control; rm one.deb; dpkg-deb -b pkg two.deb"
    index = """{ cat pkg/DEBIAN/control; echo "Filename: ./two.deb"; echo "Size: $(stat -c %s two.deb)"
      echo "SHA256: $(sha256sum two.deb | cut -d' ' -f1)"; } >Packages"""
    packaged.ssh(f"{newer} >/dev/null\n{index}")
    packaged.apply()
    assert packaged.ssh("dpkg-query -W provision-test") == "provision-test\t2"
