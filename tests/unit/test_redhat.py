"""What is other on the RHEL family: rendered, and run against recorders, because there is no such host here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provisioner.playbook.distributions import distributions
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.render import render_file
from provisioner.resources import packagescripts
from provisioner.shell.assemble import prelude
from provisioner.shell.quote import quote

SHELLS = pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=["dash", "busybox"])
TOOLS = ("cat", "grep", "head", "sed", "rm", "sort", "timeout", "date", "uname", "chown", "chmod", "mv", "id")


def machine(folder: Path, **programs: str) -> dict[str, str]:
    """An environment whose PATH has the TOOLS and recorders only; `programs` are what these do beside recording."""
    place = folder / "bin"
    place.mkdir()
    for name in TOOLS:
        (place / name).symlink_to(
            next(Path(each) / name for each in ("/usr/bin", "/bin") if (Path(each) / name).exists())
        )
    for name, body in programs.items():
        (place / name).write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>"$LOG"\n{body}\n')
        (place / name).chmod(0o755)
    (folder / "log").touch()
    return {"PATH": str(place), "LOG": str(folder / "log"), "P": str(folder)}


def run(
    shell: list[str], text: str, environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    (folder / "script").write_text(text)
    argv = ["/usr/bin/env", "-i", *(f"{key}={value}" for key, value in environment.items())]
    which = [f"/usr/bin/{shell[0]}", *shell[1:]]
    return subprocess.run([*argv, *which, folder / "script"], capture_output=True, text=True, check=False)


@SHELLS
def test_packages_come_in_one_transaction_of_dnf(shell: list[str], tmp_path: Path) -> None:
    environment = machine(tmp_path, dnf="exit $STATUS")
    values = {
        "verb": "install",
        "names": "containerd.io socat",
        "unknown": "x",
        "said": quote("packages a, b"),
    }
    script = packagescripts.holding(packagescripts.OWN_MANAGER % values)
    done = run(shell, f"set -eu\n{script}", {**environment, "STATUS": "0"}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text() == "dnf -q -y install -- containerd.io socat\n"
    done = run(shell, f"set -eu\n{script}", {**environment, "STATUS": "1"}, tmp_path)
    assert done.returncode != 0
    assert "cannot install the packages a, b" in done.stderr


def test_facts_ask_rpm_and_dnf(tmp_path: Path) -> None:
    """Not under busybox: it has an rpm of its own, and prefers it."""
    script = facts_script(packages={"*": ["a", "socat"]}).main
    text = script.replace("/var/lib/dpkg/info", str(tmp_path / "none"))
    environment = machine(tmp_path, rpm='[ "$4" = a ]', dnf="exit $STATUS")
    for status, said in (("0", "socat\n=sources\n"), ("1", "socat\n=sources\nunreachable\n")):
        done = run(["dash"], text, {**environment, "STATUS": status}, tmp_path)
        assert done.stdout.partition("=packages\n")[2] == f"{said}=end\n"
    assert "dnf -q makecache" in (tmp_path / "log").read_text()


@SHELLS
def test_what_is_put_in_place_gets_its_label(shell: list[str], tmp_path: Path) -> None:
    environment = machine(tmp_path, restorecon="")
    new, path = tmp_path / "new", tmp_path / "program"
    owner = f"{os.getuid()} {os.getgid()}"
    for enforce, labelled in (tmp_path / "none", ""), (tmp_path / "log", f"restorecon -F {path}\n"):
        new.write_text("x")
        text = f"{prelude()}\nSELINUX={enforce}\ninstall_as {new} {path} 755 {owner}\n"
        done = run(shell, text, environment, tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "log").read_text() == labelled


@pytest.mark.parametrize(
    ("name", "selinux", "there"),
    [("rhel", True, True), ("openEuler", True, True), ("rhel", False, False), ("debian", True, False)],
)
def test_nginx_of_a_load_balancer_is_not_confined_as_a_web_server(
    name: str, selinux: bool, there: bool
) -> None:
    template = Path(__file__).parents[2] / "templates/load-balancer/api-load-balancer.service.j2"
    known = {"os": distributions()[name], "folder": "/etc/x", "facts": {"selinux": selinux}}
    line = "SELinuxContext=-system_u:system_r:unconfined_service_t:s0"
    assert (line in render_file(template, known).splitlines()) is there
