"""The way back of a host whose kubeconfigs get another address of the API server.

Before anything is written the host keeps what it has and sets itself a time. Who does not approve the switch in that
time, because the node does not return or the run was cut off, finds the old files in their place again and the services
that read them restarted. Whoever moves the folder first decides; the other finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

FOLDER = "/var/lib/provision/endpoint"
"""What was there before the switch, as long as it is not approved; beside it, with `.back` behind its name, as long as
the host goes back."""
GRACE = 240
"""Seconds after which a host goes back by itself; longer than a run waits for its return, and for its batch."""

_TIMER = "provision-endpoint-back"
_UNITS = "/etc/systemd/system"
FINISH = f"[ ! -e {FOLDER}.back/back ] || /bin/sh {FOLDER}.back/back"
"""Goes on with a going back that was interrupted."""
GO_BACK = f"for d in {FOLDER} {FOLDER}.back; do [ ! -e $d/back ] || /bin/sh $d/back; done"
"""Goes back now; does nothing once the switch is approved."""
_SERVICE_UNIT = f"""[Unit]
Description=The API server's address of before

[Service]
Type=oneshot
ExecStart=/bin/sh -c '{GO_BACK.replace("$", "$$")}'
"""
# It is a file, so that a host that boots amid a switch has it as well.
_TIMER_UNIT = f"""[Unit]
Description=Goes back unless a switch of the API server's address is approved

[Timer]
OnActiveSec={GRACE}
AccuracySec=1
"""
_DISARM = f"""systemctl stop {_TIMER}.timer 2>/dev/null || :
rm -f {_UNITS}/timers.target.wants/{_TIMER}.timer {_UNITS}/{_TIMER}.timer {_UNITS}/{_TIMER}.service"""
APPROVE = f"""
{_DISARM}
mv -T {FOLDER} {FOLDER}.done && rm -rf {FOLDER}.done
"""
"""Fails when the host has gone back, or is doing so."""
FORGET = f"""{_DISARM}
systemctl stop {_TIMER}.service 2>/dev/null || :
rm -rf {FOLDER} {FOLDER}.back {FOLDER}.done"""
"""For a host whose services end: nothing is to start them again."""

# One at a time, and one that was interrupted is gone on with: then what is back already is left as it is.
_BACK = f"""#!/bin/sh
exec 9>/run/{_TIMER}.lock
flock 9
mv -T {FOLDER} {FOLDER}.back 2>/dev/null || :
[ -d {FOLDER}.back ] || exit 0
restore() {{
  old={FOLDER}.back/kept$1
  [ -e "$old" ] || return 0
  now=$(sha256sum <"$1")
  if [ -z "$2" ] || [ "$now" = "$2  -" ]; then
    new=${{1%%/*}}/.${{1##*/}}.provision
    cp -aT -- "$old" "$new" && mv -fT -- "$new" "$1"
  elif [ "$now" != "$(sha256sum <"$old")" ]; then
    echo "$1 was changed after the switch: it stays as it is" >&2
  fi
}}
%(restores)s
sync -f %(files)s 2>/dev/null || sync
systemctl reset-failed -- %(units)s 2>/dev/null || :
systemctl restart -- %(units)s
rm -rf {FOLDER}.back
{_DISARM}
"""
# With the lock of those that go back. One that the old timer has started meanwhile waits for it, and has moved nothing:
# it is ended. A folder without the script is one of which the making was cut off: nothing has been switched yet, and
# what it holds may be older than what is there now.
_BEGIN = f"""(
{FINISH}
exec 9>/run/{_TIMER}.lock
flock 9
[ ! -e {FOLDER}.back/back ] || {{ echo "the switch before this one is not taken back yet: run again" >&2; exit 1; }}
umask 077
[ -e {FOLDER}/back ] || rm -rf {FOLDER}
rm -rf {FOLDER}.done {FOLDER}.back
mkdir -p {FOLDER} {_UNITS}/timers.target.wants
for f in %s; do
  kept={FOLDER}/kept$f
  if [ -e "$kept" ] || [ ! -e "$f" ]; then continue; fi
  mkdir -p -- "${{kept%%/*}}"
  cp -aLT -- "$f" "$kept.new"
  mv -fT -- "$kept.new" "$kept"
done
cat "$P/back" >{FOLDER}/back.new
mv -fT {FOLDER}/back.new {FOLDER}/back
cat "$P/service" >{_UNITS}/{_TIMER}.service
cat "$P/timer" >{_UNITS}/{_TIMER}.timer
ln -sf ../{_TIMER}.timer {_UNITS}/timers.target.wants/{_TIMER}.timer
sync -f {FOLDER} {_UNITS} 2>/dev/null || sync
systemctl daemon-reload
systemctl stop {_TIMER}.service
systemctl reset-failed {_TIMER}.service 2>/dev/null || :
systemctl restart {_TIMER}.timer
)
"""


def begin(files: Mapping[str, str], units: Sequence[str]) -> Script:
    """A fragment that makes the way back of `files`, after which the `units` are restarted, and sets its time; that of
    a switch that is under way is set anew, and what it began with is kept. `files`: by path, the SHA-256 of what will
    be written there, so that what somebody has edited since stays; "" where that goes back whatever it is by then."""
    parts = {
        "restores": "\n".join(f"restore {quote(path)} {quote(digest)}" for path, digest in files.items()),
        "files": words(files),
        "units": words(units),
    }
    texts = {"back": _BACK % parts, "service": _SERVICE_UNIT, "timer": _TIMER_UNIT}
    payload = {name: Blob.of(text.encode()) for name, text in texts.items()}
    return Script(_BEGIN % words(files), payload)
