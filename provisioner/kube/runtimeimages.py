"""The container images that a node's containerd holds for Kubernetes."""

from __future__ import annotations

from typing import Final

from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

CTR: Final = "ctr --namespace k8s.io"
_DELETE = """
if command -v ctr >/dev/null && systemctl is-active --quiet containerd.service; then
  CTR images list -q | while read -r i; do CTR images deleteSYNC "$i" >/dev/null 2>&1 || :; done
fi
""".replace("CTR", CTR)
DELETE: Final = _DELETE.replace("SYNC", "")


BEGIN: Final = """
started=
if command -v ctr >/dev/null; then
  state=$(systemctl is-active containerd.service)
  [ "$state" != inactive ] || started=yes
  [ "$state" = active ] || systemctl start containerd.service 2>/dev/null || :
fi
"""
"""A containerd that does not run is started: who else knows what it has?"""
END: Final = '[ -z "$started" ] || systemctl stop containerd.service 2>/dev/null || :'
"""And stopped again, behind BEGIN, where somebody had: one that has crashed may be of use to others."""
UNASKED: Final = """
if command -v ctr >/dev/null && ! systemctl is-active --quiet containerd.service; then
  printf 'stays\\t%s\\t%s\\n' 'what containerd has of pods and images' 'it does not start, and cannot be asked'
fi
"""
"""Behind BEGIN, as lookagain.py reads it."""


def delete_script() -> Script:
    """Deletes them where no kubelet is any more. A containerd that does not run is started for that, and stopped once
    what they consist of is gone, too."""
    return Script(locked(f"{BEGIN}{_DELETE.replace('SYNC', ' --sync')}{END}") + "\n")
