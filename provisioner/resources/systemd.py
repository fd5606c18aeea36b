"""The module `systemd_service`: a unit that is enabled, active and running with its present inputs. `inputs` it reads
when it starts, those under `reload` also when it is asked to.

Restart is state: at every (re)start the script records the unit's InvocationID with the digests of its inputs under
/run. While the unit runs under that InvocationID it needs a restart iff an input differs from the record. A unit that
somebody else started needs one iff an input changed after its start; a tie restarts once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.resources.model import Absent, Change, Owned, Plain, Present, Resource, State
from provisioner.resources.paths import null_list
from provisioner.resources.printed import sections
from provisioner.resources.stamps import READ as READ_STAMPS
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

_SHOWN = "Id,LoadState,ActiveState,UnitFileState,InvocationID,NeedDaemonReload,InactiveExitTimestamp"

# In UTC, because `date` takes the names of other time zones for American ones. Not when the unit became active counts
# but when its start began: what was written in between it may not have seen.
_PROBE = """
TZ=UTC0 systemctl show --property=%s -- %s >"$P/shown" || :
cat "$P/shown"
echo '=='
for u in %s; do
  cat "/run/provision/units/$u" 2>/dev/null
  echo "=$u"
done
echo '=='
xargs -0 -r stat -c '%%Z %%n' -- <"$P/inputs" 2>/dev/null
echo '=='
%s
echo '=='
xargs -0 -r stat -c '~%%i-%%s-%%.9Z  %%n' -- <"$P/large" 2>/dev/null
xargs -0 -r sha256sum -- <"$P/small" 2>/dev/null
echo '=='
sed -n 's/^InactiveExitTimestamp=//p' "$P/shown" | sed 's/^$/@0/' | date -f - +%%s
"""


@dataclass(frozen=True)
class _Record:
    """What was noted at the last restart by this tool."""

    invocation: str
    digests: Mapping[str, str]


class SystemdKind:
    """Attributes: enabled, active, reloaded (systemd read the unit file of now), inputs ("current" or "stale")."""

    name = "systemd"
    ours = ()

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str}, {"enabled": bool, "state": str, "inputs": list, "reload": list})
        unit = _unit_name(str(task.args["name"]))
        if not _UNIT.fullmatch(unit):
            raise task.error(f"'{task.args['name']}' is no name of a unit", "", "name")
        state = task.args.get("state") or "started"
        if state not in {"started", "stopped"}:
            raise task.error(f"unknown state '{state}'", "use 'started' or 'stopped'", "state")
        started = state == "started"
        enabled = task.args.get("enabled")
        attrs: dict[str, Plain] = {
            "enabled": started if enabled is None else bool(enabled),
            "active": started,
        }
        inputs, reloads = (
            tuple(task.absolute(str(path), name) for path in task.args.get(name) or ())
            for name in ("inputs", "reload")
        )
        if started:
            attrs |= {"reloaded": True, "inputs": "current"}
            inputs = (f"/etc/systemd/system/{unit}", *inputs, *reloads)
        spec = {"reload": reloads}
        return [Resource("systemd", unit, Present(attrs), spec, inputs=inputs if started else ())]

    def probe(self, resources: Sequence[Resource]) -> Script:
        units = words(each.name for each in resources)
        paths = _all_inputs(resources)
        script = _PROBE % (_SHOWN, units, units, READ_STAMPS)
        payload = {
            "inputs": null_list(paths),
            "small": null_list(path for path in paths if not path.startswith(_LARGE)),
            "large": null_list(path for path in paths if path.startswith(_LARGE)),
        }
        return Script(script, payload)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        shown, records, times, stamps, hashed, starts = sections(output, 6)
        digests = _pairs(hashed) | _pairs(stamps)
        changed = {path: int(moment) for moment, _, path in (line.partition(" ") for line in times)}
        noted = _records(records)
        states: dict[str, State] = {}
        for each, properties, start in zip(resources, _blocks(shown), starts, strict=False):
            states[each.id] = _state(each, properties, noted.get(each.name), digests, changed, int(start))
        return states

    def settle(self, resource: Resource, actual: State, planned: Collection[Change]) -> State:
        """The state after what the plan will write before the unit's turn."""
        if not isinstance(actual, Present) or not isinstance(resource.desired, Present):
            return actual
        if "inputs" not in resource.desired.attrs or not actual.attrs["active"]:
            return _public(actual)
        after = _predicted(resource, planned)
        attrs = dict(actual.attrs)
        if f"/etc/systemd/system/{resource.name}" in after:
            attrs["reloaded"] = False
        recorded = dict(item.split(" ", 1)[::-1] for item in _strings(attrs.get("recorded")))
        if after and (attrs["inputs"] != "stale" or recorded):
            present = dict(item.split(" ", 1)[::-1] for item in _strings(attrs.get("digests")))
            expected = present | after
            same = bool(recorded) and all(
                recorded.get(path, "-") == digest for path, digest in expected.items()
            )
            # Somebody may have had it read what he wrote, and nothing tells of that.
            reread = bool(after.keys() & set(resource.spec.get("reload", ())))
            attrs["inputs"] = "current" if same and not reread else "stale"
        return _public(Present(attrs))

    def change(self, change: Change) -> Script:
        unit = quote(change.resource.name)
        attrs = change.resource.desired.attrs if isinstance(change.resource.desired, Present) else {}
        if not attrs.get("active"):
            verb = "enable" if attrs.get("enabled") else "disable"
            return Script(f"systemctl stop -- {unit} || :\nsystemctl {verb} -- {unit} 2>&1\n")
        lines = []
        if "enabled" in change.keys or change.action == "create":
            # Without --no-reload it has the manager read all units a second time.
            lines.append(
                f"systemctl {'enable' if attrs['enabled'] else 'disable'} --no-reload -- {unit} 2>&1"
            )
        lines.append("systemctl daemon-reload")
        if {"active", "inputs"} & set(change.keys) or change.action == "create":
            lines += [f"systemctl reset-failed -- {unit} 2>/dev/null || :", f"restart_unit {unit}"]
        script = _RESTART + "\n".join(lines) + "\n"
        payload = {
            "inputs": null_list(change.resource.inputs),
            "list": _lines(change.resource.inputs),
            "reload": _lines(change.resource.spec.get("reload", ())),
        }
        return Script(script, payload)

    def gone(self, owned: Owned) -> Resource | None:
        """Stopped and disabled; but one that ran or was enabled before is left as it is."""
        if owned.before.get("active") or owned.before.get("enabled"):
            return None
        return owned.wish(Present({"enabled": False, "active": False}))

    def stays(self, change: Change) -> Script | None:
        """Whether the unit is still in the invocation that was recorded when it was started."""
        wanted = change.resource.desired.attrs if isinstance(change.resource.desired, Present) else {}
        started = bool({"active", "inputs"} & set(change.keys)) or change.action == "create"
        return Script(_STAYS % quote(change.resource.name)) if wanted.get("active") and started else None


_STAYS = """
u=%s
IFS= read -r noted <"/run/provision/units/$u" || noted=unknown
shown=$(systemctl show --property=ActiveState,SubState,Result,NRestarts,InvocationID -- "$u")
case $shown in
*"InvocationID=$noted"*)
  case $shown in *ActiveState=active* | *ActiveState=reloading*) exit 0 ;; esac
  ;;
esac
printf '%%s\\n' "$shown" | grep -v InvocationID | paste -s -d ' ' -
journalctl --no-pager --quiet -n 15 -o cat -u "$u"
exit 1
"""

_LARGE = ("/opt/", "/usr/local/bin/", "/usr/bin/")
"""Below these lie binaries: their digest comes from the stamp; that of one without a stamp is made of its stat."""

_SUFFIXES = ("service", "socket", "target", "mount", "automount", "timer", "path", "slice", "swap")
_UNIT = re.compile(r"[A-Za-z0-9:_.-]+(@[A-Za-z0-9:_.-]+)?\.(" + "|".join(_SUFFIXES) + ")")
_FIXED = frozenset({"static", "alias", "indirect", "generated", "transient"})
"""States of unit files that neither `enable` nor `disable` changes."""

_RESTART = (
    "stamped() {"
    + READ_STAMPS
    + """}
stamp_line() {
  while IFS= read -r l; do
    if [ "${l#*  }" = "$1" ]; then echo "$l"; return 0; fi
  done <"$P/stamped"
}
note_inputs() {
  stamped >"$P/stamped"
  while IFS= read -r f; do
    line=$(stamp_line "$f")
    case $f in
      /opt/* | /usr/local/bin/* | /usr/bin/*) [ -n "$line" ] || line=$(stat -c '~%i-%s-%.9Z  %n' -- "$f") || : ;;
      *) [ -n "$line" ] || [ ! -f "$f" ] || line=$(sha256sum -- "$f") ;;
    esac
    echo "${line:--  $f}"
  done <"$P/list"
}
now_running() {
  systemctl show --property=InvocationID --value -- "$1"
  cat "$P/noted"
}
# All that changed since its start is what it can read again. Where somebody else started it times tell what changed.
only_reloads() {
  [ -s "$P/reload" ] || return 1
  invocation=$(systemctl show --property=InvocationID --value -- "$1")
  if [ "$(sed -n 1p "/run/provision/units/$1" 2>/dev/null)" = "$invocation" ]; then
    sed 1d "/run/provision/units/$1" | sort - "$P/noted" | uniq -u | sed 's/^[^ ]*  //' >"$P/changed"
  else
    begun=$(TZ=UTC0 systemctl show --property=InactiveExitTimestamp --value -- "$1" | date -f - +%s)
    while IFS= read -r f; do
      [ "$(stat -c %Z -- "$f" 2>/dev/null || echo 0)" -lt "$begun" ] || echo "$f"
    done <"$P/list" >"$P/changed"
  fi
  ! grep -qvxFf "$P/reload" "$P/changed"
}
restart_unit() {
  mkdir -p /run/provision/units
  note_inputs >"$P/noted"
  # An orphan of a run that was killed may have done it while this one waited for it.
  noted=$(cat "/run/provision/units/$1" 2>/dev/null) || :
  if [ ! -s "$P/reload" ] && systemctl is-active --quiet -- "$1" && [ "$(now_running "$1")" = "$noted" ]; then
    return 0
  fi
  verb=restart
  ! { systemctl is-active --quiet -- "$1" && only_reloads "$1"; } || verb=reload
  rm -f -- "/run/provision/units/$1"
  if ! systemctl "$verb" -- "$1"; then
    systemctl status --no-pager --lines=0 -- "$1" >&2 || :
    journalctl --no-pager --quiet -n 15 -o cat -u "$1" >&2 || :
    return 1
  fi
  now_running "$1" >"$P/record"
  mv -f -- "$P/record" "/run/provision/units/$1"
}
"""
)


def _unit_name(name: str) -> str:
    return name if name.rpartition(".")[2] in _SUFFIXES else f"{name}.service"


def _blocks(lines: Iterable[str]) -> list[dict[str, str]]:
    """The properties of each unit; an empty line stands between two units."""
    blocks: list[dict[str, str]] = [{}]
    for line in lines:
        if not line:
            blocks.append({})
            continue
        name, _, value = line.partition("=")
        blocks[-1][name] = value
    return blocks


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}


def _lines(paths: Iterable[str]) -> Blob:
    return Blob.of("".join(f"{path}\n" for path in paths).encode())


def _all_inputs(resources: Sequence[Resource]) -> list[str]:
    return sorted({path for each in resources for path in each.inputs})


def _records(lines: Iterable[str]) -> dict[str, _Record]:
    records: dict[str, _Record] = {}
    said: list[str] = []
    for line in lines:
        if not line.startswith("="):
            said.append(line)
            continue
        if said:
            records[line[1:]] = _Record(said[0], _pairs(said[1:]))
        said = []
    return records


def _state(
    resource: Resource,
    shown: Mapping[str, str],
    record: _Record | None,
    digests: Mapping[str, str],
    changed: Mapping[str, int],
    start: int,
) -> State:
    wanted = resource.desired.attrs if isinstance(resource.desired, Present) else {}
    if shown.get("LoadState") == "not-found" and shown.get("ActiveState") == "inactive":
        # What is not there neither runs nor starts: that is all that "stopped" asks for.
        return Absent() if wanted.get("active") else Present({"enabled": False, "active": False})
    active = shown.get("ActiveState") in {"active", "reloading"}
    present = {path: digests.get(path, "-") for path in resource.inputs}
    file_state = shown.get("UnitFileState", "")
    attrs: dict[str, Plain] = {
        "enabled": bool(wanted.get("enabled")) if file_state in _FIXED else file_state == "enabled",
        "active": active,
        "reloaded": shown.get("NeedDaemonReload") != "yes",
    }
    if active and record and record.invocation == shown.get("InvocationID"):
        # One that was not an input then, and is not there now, has not changed.
        same = all(record.digests.get(path, "-") == digest for path, digest in present.items())
        attrs["inputs"] = "current" if same else "stale"
        attrs["recorded"] = tuple(f"{digest} {path}" for path, digest in sorted(record.digests.items()))
    else:
        newest = max((changed.get(path, 0) for path in resource.inputs), default=0)
        attrs["inputs"] = "current" if active and newest < start else "stale"
    attrs["digests"] = tuple(f"{digest} {path}" for path, digest in sorted(present.items()))
    return Present(attrs)


def _predicted(resource: Resource, planned: Collection[Change]) -> dict[str, str]:
    """Digests of the inputs that the plan writes; "?" where only the doing will tell."""
    after: dict[str, str] = {}
    for change in planned:
        for path in change.resource.writes:
            if path in resource.inputs:
                desired = change.resource.desired
                digest = desired.attrs.get("sha256") if isinstance(desired, Present) else "-"
                after[path] = str(digest or "?")
    return after


def _strings(value: Plain) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _public(state: Present) -> Present:
    return Present({key: value for key, value in state.attrs.items() if key not in {"recorded", "digests"}})
