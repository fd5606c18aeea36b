"""The work lock of a host: scripts that change something never run side by side.

An orphan of a run that was killed goes on to its end; a new run's scripts wait for it. The lock is a flock that the
shell holds by descriptor 8; what it starts must not inherit that, or it would hold the lock, too.
"""

from __future__ import annotations

from provisioner.shell.script import Script

LOCK_SECONDS = 300
"""How long a script waits for another one's end; then it ends with BUSY."""
BUSY = 75

_TAKE = f"""
mkdir -p /run/provision /var/lib/provision
exec 8>/run/provision/work.lock
if ! flock -n 8; then
  WAITING
  flock -w {LOCK_SECONDS} 8 || {{
    echo "another script of provision is still working on this host after {LOCK_SECONDS} s" >&2
    exit {BUSY}
  }}
fi
"""

TAKE_TELLING = _TAKE.replace("WAITING", "echo waiting")
"""Takes the lock, for the rest of the script; says `waiting` when another script has it."""


def locked(commands: str) -> str:
    """`commands` of sh in a subshell that holds the lock, silently: for what changes something outside of
    `assemble.change_script`. Its status is theirs, or BUSY."""
    return f"({_TAKE.replace('WAITING', ':')}{commands.strip()}\n)"


def after_others(commands: str) -> Script:
    """Runs `commands`, which only read, once no other script changes the host; says `waiting` when one does."""
    return Script(f"{TAKE_TELLING}{commands.strip()}\n")
