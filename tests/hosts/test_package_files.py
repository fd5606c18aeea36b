"""Packages out of files that come along, on a real host: apt decides, nothing starts early, nothing stays behind."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.action.connect import connect_to
from provisioner.inventory.model import load_inventory
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.remote.session import Session
from provisioner.resources.packagefiles import PackageFile, install_script
from provisioner.shell.assemble import StepRecord, change_script, parse_steps, split_trace
from provisioner.shell.script import Blob

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixture
    from onehost import Host

pytest_plugins = ["onehost"]

UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
STARTS = """\
#!/bin/sh
set -e
systemctl daemon-reload
systemctl -q enable early
deb-systemd-invoke start early.service || :
"""
OURS = ("early", "tool", "library")
KILLED = r"""
dpkg --purge --force-all library >/dev/null 2>&1
sed -i '/^Package: tool$/,/^$/s/ok installed/ok unpacked/' /var/lib/dpkg/status
printf '#!/bin/sh\n# provision: services wait\nexit 101\n' >/usr/sbin/policy-rc.d
"""
HAVE = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' tool library early 2>/dev/null || :"


def package(folder: Path, name: str, version: str, needs: str = "") -> PackageFile:
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\n"
    control += f"Depends: {needs}\n" if needs else ""
    (tree / "DEBIAN/control").write_text(f"{control}Description: test\n")
    if name == "early":
        (tree / "lib/systemd/system").mkdir(parents=True)
        (tree / "lib/systemd/system/early.service").write_text(UNIT)
        (tree / "DEBIAN/postinst").write_text(STARTS)
        (tree / "DEBIAN/postinst").chmod(0o755)
    path = folder / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "-b", tree, path], check=True, capture_output=True)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    said = f"{control}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {digest}\n"
    return PackageFile(name, path.name, said, Blob(digest, len(data), path=path))


@pytest.fixture
def session(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("XDG_STATE_HOME", host.environment["XDG_STATE_HOME"])
    with connect_to(load_inventory(Path(host.inventory))) as pool:
        yield pool.session("one")
    host.ssh(f"dpkg --purge --force-all {' '.join(OURS)} >/dev/null 2>&1; rm -f /usr/sbin/policy-rc.d*")


def install(session: Session, names: list[str], files: list[PackageFile], *, hold: bool = True) -> str:
    """What it said on stderr; "" when all went well."""
    done = session.run(change_script([install_script(names, files, hold=hold)], [StepRecord("{}")], []))
    return "" if parse_steps(done.stdout).ok == (0,) else split_trace(done.stderr)[1]


def test_what_is_needed_comes_along_in_one_transaction(host: Host, session: Session, tmp_path: Path) -> None:
    sources = "sha256sum /etc/apt/sources.list; ls -l /var/lib/apt/lists; ls /etc/apt/sources.list.d"
    before = host.ssh(sources)
    host.ssh("rm -f /var/log/apt/history.log")
    files = [package(tmp_path, "library", "2"), package(tmp_path, "tool", "1", "library (>= 2)")]
    files.append(package(tmp_path, "early", "1"))
    assert install(session, ["tool", "early"], files) == ""
    assert host.ssh(HAVE).splitlines() == ["installed early 1", "installed library 2", "installed tool 1"]
    assert host.ssh("grep -c ^Start-Date: /var/log/apt/history.log") == "1"
    assert host.ssh("systemctl is-active early || :") == "inactive"
    assert host.ssh("ls -d /usr/sbin/policy-rc.d* /var/lib/provision/packages 2>/dev/null || :") == ""
    assert host.ssh(sources) == before


def test_a_service_starts_with_its_package_when_nobody_holds_it(
    host: Host, session: Session, tmp_path: Path
) -> None:
    assert install(session, ["early"], [package(tmp_path, "early", "1")], hold=False) == ""
    assert host.ssh("systemctl is-active early") == "active"
    host.ssh("systemctl stop early")


def test_newer_ones_stay_and_the_hosts_own_policy_is_put_back(
    host: Host, session: Session, tmp_path: Path
) -> None:
    assert install(session, ["library"], [package(tmp_path, "library", "3")]) == ""
    host.ssh("printf '#!/bin/sh\\nexit 0\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d")
    files = [package(tmp_path, "library", "2"), package(tmp_path, "tool", "1", "library (>= 2)")]
    assert install(session, ["tool"], files) == ""
    assert host.ssh(HAVE).splitlines() == ["installed library 3", "installed tool 1"]
    assert host.ssh("cat /usr/sbin/policy-rc.d; ls /usr/sbin/policy-rc.d*").splitlines() == [
        "#!/bin/sh",
        "exit 0",
        "/usr/sbin/policy-rc.d",
    ]


def test_what_a_killed_run_left_is_mended(host: Host, session: Session, tmp_path: Path) -> None:
    """Unpacked and not configured, with its needs missing; beside it our policy, which has lost its run."""
    files = [package(tmp_path, "library", "2"), package(tmp_path, "tool", "1", "library (>= 2)")]
    assert install(session, ["tool"], files) == ""
    host.ssh(KILLED)
    assert "unpacked tool" in host.ssh(HAVE)
    assert install(session, ["tool"], files) == ""
    assert host.ssh(HAVE).splitlines() == ["installed library 2", "installed tool 1"]
    assert host.ssh("ls /usr/sbin/policy-rc.d 2>/dev/null || :") == ""


def test_what_cannot_be_installed_is_told(session: Session, tmp_path: Path) -> None:
    said = install(session, ["tool"], [package(tmp_path, "tool", "1", "library (>= 2)")])
    assert "the bundle's package tool cannot be installed on this host" in said
    assert "library" in said


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("file:/srv/deb ./", True),
        ("http://10.98.31.1:9/debian bookworm main", False),
        ("http://nowhere.invalid/debian bookworm main", False),
    ],
)
def test_facts_tell_whether_the_hosts_own_sources_are_reached(
    host: Host, session: Session, source: str, reached: bool
) -> None:
    host.ssh(
        f"cp /etc/apt/sources.list /root/sources; echo 'deb [trusted=yes] {source}' >/etc/apt/sources.list"
    )
    try:
        asked = facts_script(packages={"*": ["dpkg", "no-such-package"]})
        facts = parse_facts("one", session.run(asked, deadline=60).stdout, 1.0)
        assert facts.missing_packages == ("no-such-package",)
        assert facts.package_sources is reached
        there = parse_facts("one", session.run(facts_script(packages={"*": ["dpkg"]})).stdout, 1.0)
        assert there.package_sources, "nobody asks as long as nothing is missing"
    finally:
        host.ssh("mv /root/sources /etc/apt/sources.list")
