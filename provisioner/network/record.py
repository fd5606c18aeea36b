"""What control planes remember of the pod network: the section that was applied last, the one before it, and a
migration that has begun."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.spec.model import Network

RECORD_FILE = "/var/lib/provision/state/network.json"
Section = Mapping[str, Any]
"""`cluster.network` as an inventory has it."""

BOTH, ALONE = "both", "alone"
"""How far a migration is: both networks are there, and either may be gone back to at no cost; or the former one is
being taken away."""


@dataclass(frozen=True)
class Migration:
    """One that has begun and has not ended. `id` marks what it has restarted. `source` and `target` are sections;
    `back` marks one that takes back what was done before."""

    id: str
    source: Section
    target: Section
    strategy: str
    phase: str = BOTH
    back: bool = False

    def reversed(self, new_id: str) -> Migration:
        """The way back, both networks being wanted again at first."""
        return replace(
            self, id=new_id, source=self.target, target=self.source, phase=BOTH, back=not self.back
        )


@dataclass(frozen=True)
class NetworkRecord:
    """`now` is the section that was applied last; `before` the one that a migration which has ended led away from."""

    now: Section | None = None
    before: Section | None = None
    migration: Migration | None = None

    @property
    def at_work(self) -> tuple[Section, ...]:
        """Those by which pods may have addresses."""
        both = (self.migration.source, self.migration.target) if self.migration else ()
        return tuple(each for each in (self.now, *both) if each is not None)

    @property
    def words(self) -> str:
        """The plug-in that pods are in; "" where nothing is on record."""
        if self.migration is None:
            return "" if self.now is None else plugin_of(self.now)
        source, target = plugin_of(self.migration.source), plugin_of(self.migration.target)
        return f"{source} on its way to {target if target != source else 'other settings'}"

    def to_json(self) -> str:
        """The file's text; the same record gives the same text."""
        migration = asdict(self.migration) if self.migration else None
        data = {"format": 1, "now": self.now, "before": self.before, "migration": migration}
        return json.dumps(data, indent=1, sort_keys=True) + "\n"


def plugin_of(section: Section) -> str:
    """Which it chooses."""
    return str(section.get("plugin") or Network().plugin)


def cidrs_of(section: Section) -> list[str]:
    """Where pods have addresses by it."""
    pools = dict(section.get("calico") or {}).get("pools") or []
    return [*pod_cidrs_of(section), *(str(each["cidr"]) for each in pools)]


def pod_cidrs_of(section: Section) -> list[str]:
    """What is said, or what goes without saying."""
    return [str(each) for each in section.get("pod_cidrs") or Network().pod_cidrs]


def parse_record(text: str, host: str) -> NetworkRecord:
    """An empty one for an empty text. Raises ProvisionError for a file that is damaged or of a newer version."""
    if not text.strip():
        return NetworkRecord()
    try:
        data = json.loads(text)
        if data["format"] != 1:
            raise ProvisionError(
                f"{host}: {RECORD_FILE} has format {data['format']}, this version knows 1",
                "use the version of provision that wrote it, or a newer one",
            )
        migration = Migration(**data["migration"]) if data["migration"] else None
        return NetworkRecord(data["now"], data["before"], migration)
    except (ValueError, KeyError, TypeError) as fault:
        reason = f"{host}: {RECORD_FILE} is damaged ({type(fault).__name__}: {fault})"
        raise ProvisionError(reason, "restore it from another control-plane host or a backup") from None


def agreed_record(texts: Mapping[str, str]) -> NetworkRecord:
    """Of the control planes' copies, by host. A run may have ended between two of them: one that knows of a migration
    knows more than one that does not yet, and what has to be taken away is found gone where it knows too much. Of two
    the one that is further counts."""
    return _furthest([parse_record(text, host) for host, text in texts.items()])


def _furthest(records: Iterable[NetworkRecord]) -> NetworkRecord:
    best = NetworkRecord()
    for each in records:
        if _rank(each) > _rank(best):
            best = each
    return best


def _rank(record: NetworkRecord) -> tuple[bool, bool, bool, bool]:
    migration = record.migration
    return (
        migration is not None,
        migration is not None and migration.back,
        migration is not None and migration.phase == ALONE,
        record.now is not None,
    )
