"""A kubelet whose clock is ahead of its host's, which shares the clock of the machine with all others.

It is built from the bundle's own Go module; only `time.Now` of Go's standard library is another one, in a copy that
lies over the installed file for this build (`go build -overlay`). What `time.Now` tells beside the wall clock, the
monotonic clock by which timers run and durations are measured, stays what it is.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from lab_cluster import LabCluster
from platformdirs import user_cache_path

from provisioner.bundle import catalogue, golang
from provisioner.bundle.frommodule import NO_INPUTS
from provisioner.bundle.recipe import module_key
from provisioner.engine.events import silent

PROGRAM = "/root/kubelet-ahead"
UNIT = "/etc/systemd/system/kubelet.service"
DROP_IN = "/run/systemd/system/kubelet.service.d/clock.conf"
VARIABLE = "CLOCK_AHEAD_SECONDS"

_NOW = re.compile(r"(func Now\(\) Time \{\n\tsec, nsec, mono := \w+\(\)\n)")
_AHEAD_GO = f"""package time

import "syscall"

var ahead = readAhead()

func readAhead() (seconds int64) {{
	text, _ := syscall.Getenv("{VARIABLE}")
	for _, digit := range text {{
		seconds = seconds*10 + int64(digit-'0')
	}}
	return seconds
}}
"""

_START = f"""
mkdir -p {DROP_IN.rpartition("/")[0]}
{{
  printf '[Service]\\nEnvironment={VARIABLE}=%d\\nExecStart=\\n'
  sed -n '/^ExecStart=/,/[^\\\\]$/p' {UNIT} | sed '1s|=[^ ]*|={PROGRAM} --v=2|'
}} >{DROP_IN}
systemctl daemon-reload
systemctl restart kubelet
"""
_SET = f"""
rm -rf {DROP_IN.rpartition("/")[0]}
systemctl daemon-reload
"""
_PUT_BACK = f"""
if [ -e {DROP_IN} ]; then
  {_SET}
  systemctl restart kubelet
fi
rm -f {PROGRAM}
"""


def kubelet_ahead() -> Path:
    """The program, which reads by how many seconds it is ahead in VARIABLE. It is built once, which takes minutes, and
    kept by what it is made of.

    Raises ProvisionError when it cannot be built, and ValueError when this Go's `time.Now` is not understood.
    """
    (kubelet,) = catalogue.select(catalogue.load(), ["kubelet"])
    replaced = _standard_library()
    parts = [module_key(kubelet, NO_INPUTS, golang.toolchain_version()), *replaced.values()]
    kept = user_cache_path("provision") / "tests"
    target = kept / f"kubelet-ahead-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
    if not target.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as name, pytest.MonkeyPatch.context() as environment:
            environment.setenv("GOFLAGS", f"{_go_env('GOFLAGS')} -overlay={_overlay(replaced, Path(name))}")
            work = golang.Compilation(
                kubelet.name, kubelet.module, kubelet.architecture, Path(name) / "programs"
            )
            (program,) = golang.compile_packages(work, Path(name), silent).values()
            program.replace(target)
    return target


def deliver(cluster: LabCluster, host: str, program: Path) -> None:
    """Copies the program to the host; it does not run yet."""
    options = [f"UserKnownHostsFile={cluster.folder}/known_hosts", "BatchMode=yes"]
    argv = ["ssh", "-i", str(cluster.folder / "id_ed25519"), *(f"-o{each}" for each in options)]
    argv += [f"root@{cluster.address(host)}", f"rm -f {PROGRAM} && cat >{PROGRAM} && chmod 755 {PROGRAM}"]
    with program.open("rb") as file:
        subprocess.run(argv, stdin=file, check=True, timeout=60)


def start(cluster: LabCluster, host: str, seconds: int) -> None:
    """Restarts the host's kubelet as the delivered program, with all that the unit says, `seconds` ahead."""
    cluster.one(host, _START % seconds)


def set_right(cluster: LabCluster, host: str) -> None:
    """From its next start on the unit's own program runs again. It is not started here."""
    cluster.one(host, _SET)


def put_back(cluster: LabCluster, host: str) -> None:
    """The unit's own program runs again, and the other one is gone from the host."""
    cluster.one(host, _PUT_BACK)


def log(cluster: LabCluster, host: str) -> str:
    """What the kubelet has said since its last start."""
    own = "_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value kubelet)"
    return cluster.one(host, f"journalctl --output=cat --no-pager {own}")


def _standard_library() -> dict[str, str]:
    """Files of package time as they are to be, by their path in GOROOT."""
    source = Path(_go_env("GOROOT")) / "src" / "time"
    text, count = _NOW.subn(r"\1\tsec += ahead\n", (source / "time.go").read_text())
    if count != 1:
        raise ValueError(f"{source}/time.go: `Now` is not what it was up to Go 1.26")
    return {str(source / "time.go"): text, str(source / "ahead.go"): _AHEAD_GO}


def _overlay(replaced: dict[str, str], folder: Path) -> Path:
    """The file for `go build -overlay`."""
    copies = {original: folder / Path(original).name for original in replaced}
    for original, copy in copies.items():
        copy.write_text(replaced[original])
    path = folder / "overlay.json"
    path.write_text(json.dumps({"Replace": {original: str(copy) for original, copy in copies.items()}}))
    return path


def _go_env(name: str) -> str:
    done = subprocess.run(["go", "env", name], capture_output=True, text=True, check=True)
    return done.stdout.strip()
