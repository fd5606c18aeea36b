"""The lab's SSH keys: one to log in with, one a host, and known_hosts made from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from provisioner.lab.command import run
from provisioner.lab.plan import LabPlan


def ensure_key(path: Path, comment: str) -> None:
    """An Ed25519 key pair at `path` and `path`.pub; one that is there and whole is kept."""
    public = path.with_name(f"{path.name}.pub")
    if path.exists() and public.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ssh-keygen of a run that was killed may still be at work: each writes in a folder of its own.
    for left in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as folder:
        making = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(making)])
        making.with_name("key.pub").rename(public)
        making.rename(path)


def host_key(plan: LabPlan, host: str) -> Path:
    """Where the host's own private key is kept; the host gets a copy."""
    return plan.host_directory(host) / "ssh_host_ed25519_key"


def write_known_hosts(plan: LabPlan) -> None:
    """known_hosts for all hosts, by address and by name."""
    lines = []
    for host, address in plan.hosts.items():
        kind, key, *_ = Path(f"{host_key(plan, host)}.pub").read_text().split()
        lines.append(f"{address},{host} {kind} {key}\n")
    text = "".join(lines)
    if not plan.known_hosts.exists() or plan.known_hosts.read_text() != text:
        temporary = plan.known_hosts.with_name(".known_hosts.new")
        temporary.write_text(text)
        temporary.rename(plan.known_hosts)
