"""What programs say when a host fails them, and what an operator does about it."""

from __future__ import annotations

import re

from provisioner.remote.pullcauses import pull_cause

_CAUSES = (
    (
        "No space left on device|Disk quota exceeded",
        "the disk is full",
        "make room on {host} (`df -h` and `df -i` show where)",
    ),
    (
        "Read-only file system",
        "the file system is read-only",
        "look at `mount` and `dmesg` on {host}: after an error of the disk the kernel lets nothing be written any more",
    ),
    ("Input/output error", "the disk fails", "look at `dmesg` on {host}; the disk may have to be replaced"),
    ("Cannot allocate memory", "memory has run out", "look at `free -m` on {host}"),
    (
        "[Pp]assword (change required|has expired|is expired)|[Aa]ccount or password is expired",
        "its password has expired",
        "give the account a new one on {host} (`passwd`), or let it have none that expires (`chage -M -1`)",
    ),
    (
        "does not look like a tar archive|Unexpected EOF in archive",
        "what was sent did not arrive whole",
        (
            "the login's start files on {host} (.profile, .bashrc) read what is not meant for them: they must not"
            " read where there is no terminal"
        ),
    ),
)
_KILLED = (
    "it was killed (SIGKILL)",
    "when memory runs out the kernel kills: look at `journalctl -k | grep -i oom` on {host}",
)


def cause_of(said: str, host: str, status: int | None = None) -> tuple[str, str]:
    """(the cause, what mends it) of a failure in which `said` was printed; both are empty for one that is not known."""
    if "ctr: " in said and any(pull := pull_cause(said, host)):
        return pull
    # What is said last is nearest to the end.
    found = [
        (match.start(), cause, hint)
        for pattern, cause, hint in _CAUSES
        for match in re.finditer(pattern, said)
    ]
    if found:
        _, cause, hint = max(found)
    elif status == 137:
        cause, hint = _KILLED
    else:
        return "", ""
    return cause, hint.format(host=host)
