"""What may be removed by name: nothing that other programs of the host live in."""

from __future__ import annotations

import re

from provisioner.resources.task import TaskCall

_GLOB = re.compile(r"[*?\[]")
_BARE = re.compile(r"[*?]*\*[*?]*")

# Folders of the Filesystem Hierarchy Standard 3.0 and of systemd that belong to the whole host.
_LISTED = """
/etc/apt /etc/default /etc/init.d /etc/modprobe.d /etc/modules-load.d /etc/pam.d /etc/profile.d
/etc/security /etc/ssh /etc/ssl /etc/ssl/certs /etc/sysctl.d /etc/systemd /etc/systemd/network
/etc/systemd/system /etc/udev /lib/modules /lib/systemd /lib/systemd/system /run/systemd /usr/bin
/usr/include /usr/lib /usr/lib/modules /usr/lib/systemd /usr/lib/systemd/system /usr/lib64
/usr/libexec /usr/local /usr/local/bin /usr/local/lib /usr/local/sbin /usr/sbin /usr/share /usr/src
/var/cache /var/lib /var/lib/apt /var/lib/dpkg /var/lib/rpm /var/lib/provision /var/lib/systemd
/var/local /var/log /var/mail /var/opt /var/run /var/spool /var/tmp
"""
_SHARED = frozenset(_LISTED.split())
_KERNEL = frozenset({"dev", "proc", "sys"})


def removable(task: TaskCall, value: str, key: str) -> str:
    """`value` as a path or pattern that may be removed. Raises InputError at the argument `key`."""
    path = task.absolute(value, key)
    reason = _objection(path)
    if reason:
        raise task.error(f"will not remove '{value}': {reason}", "name something of your own inside it", key)
    return path


def _objection(path: str) -> str:
    parts = path.split("/")[1:]
    if len(parts) < 2 or path in _SHARED or parts[0] in _KERNEL:
        return "it belongs to the whole host"
    if any(_GLOB.search(part) for part in parts[:2]):
        return "the first two folders must be named"
    if any(part.startswith(".") and _GLOB.match(part[1:2]) for part in parts):
        return "the pattern finds '..', too"
    bare = next((index for index, part in enumerate(parts) if _BARE.fullmatch(part)), None)
    if bare is not None and "/" + "/".join(parts[:bare]) in _SHARED:
        return "it would empty a folder that belongs to the whole host"
    return ""
