"""The test of fail-over: breaks load balancers in every way, one after the other, and counts what clients see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import replace

from provisioner.action.failoverleader import LeftOutError, await_leader_back
from provisioner.action.failoverready import await_ready
from provisioner.action.failoversite import Site
from provisioner.action.presence import begun
from provisioner.engine.events import FailoverEnded, FaultBegun, FaultEnded
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.failover.client import Client
from provisioner.failover.faults import LEADER, LEFT, Fault, begin
from provisioner.failover.samples import (
    Holding,
    Sample,
    concerned,
    holding,
    longest_gap,
    longest_return,
)
from provisioner.failover.watching import await_address, collected, sampling
from provisioner.kube.gates import api_ready
from provisioner.shell.script import Script

TAKEN_SECONDS = 15
"""How long another load balancer may take to get the address; then the fault counts as not survived, and is undone."""
BACK_SECONDS = 600
"""How long a host may take to boot."""
_QUIET = 2.0
"""Seconds of the measure of its own noise."""
_LOST = 8.0
"""Seconds that are looked at when a host is lost that is no load balancer: those leave its API server out after two
questions without an answer, a second each, and etcd elects a leader in two."""
_AFTER = 10
"""Good answers in a row after which an outage is over: half a second of them."""
_TWICE = 0.25
"""Seconds for which two hosts may seem to have the address: two samples and what the clocks' comparison may err."""
_BOOT_ID = Script("cat /proc/sys/kernel/random/boot_id\n")


def try_faults(site: Site, names: Sequence[str], *, quick: bool = False) -> FailoverEnded:
    """Tries the faults of these names in order ("" measures what is seen without one), each once all load balancers
    are ready to take over, and so are they in the end. `quick` does not wait for connections that are kept, so that
    little is known of those. Whatever is raised, each fault undoes itself.

    Raises ProvisionError when that readiness does not come, UnreachableError for a host that does not come back.
    """
    found, left_out = list[FaultEnded](), list[str]()
    with site.asking(_AFTER) as client:
        for name in names:
            holder = await_ready(site, found[-1].fault if found else "")
            try:
                fault, host = site.fault(name, holder)
            except LeftOutError as why:
                left_out.append(f"{name}: not tried: {why}")
                continue
            found.append(_Trial(site, client, fault, host, quick=quick).run())
            site.emit(found[-1])
            if name == LEADER:
                await_leader_back(site, host)
    await_ready(site, found[-1].fault if found else "")
    ok = all(each.ok for each in found)
    return FailoverEnded(client=site.client, faults=tuple(found), ok=ok, left_out=tuple(left_out))


class _Trial:
    """One fault on one host; without a fault, the measure of what is seen without."""

    def __init__(self, site: Site, client: Client, fault: Fault | None, host: str, *, quick: bool) -> None:
        self._quick = quick
        self._site, self._client, self._fault, self._host = site, client, fault, host
        self._watched = site.balancers if site.vip is not None else ()
        self._why = ""
        self._boot = b""

    def run(self) -> FaultEnded:
        site, fault = self._site, self._fault
        self._on_watched(sampling(str(site.vip)))
        site.emit(FaultBegun(fault=fault.name if fault else "", host=self._host))
        start = time.monotonic()
        if fault is None:
            time.sleep(_QUIET)
        else:
            self._break(fault)
            self._await_effects(fault)
        end = time.monotonic()
        self._client.settle(end)
        back = self._mend(fault, start) if fault is not None else end
        gap = longest_gap(self._client.answers, start, end)
        return self._judged(start, end, gap, self._holding(start, gap[0], back))

    def _on_watched(self, script: Script) -> None:
        answers = self._site.pool.map(self._watched, lambda each: each.run(script, deadline=30))
        for host, said in answers.items():
            if isinstance(said, Exception):
                raise said
            _check(host, "the address cannot be watched", said.status, said.stderr)

    def _break(self, fault: Fault) -> None:
        session = self._site.pool.session(self._host)
        if fault.reboots:
            self._boot = session.run(_BOOT_ID, deadline=30).stdout
        result = session.run(begin(fault), deadline=30)
        _check(self._host, f"'{fault.name}' could not be begun", result.status, result.stderr)
        if fault.away:
            session.close()  # it may not notice for long that nobody is there

    def _await_effects(self, fault: Fault) -> None:
        site = self._site
        if fault.on_balancer:
            others = [each for each in site.balancers if each != self._host]
            if not _taken(site, others):
                self._why = f"no other load balancer had the address within {TAKEN_SECONDS} s"
        elif fault.reboots:
            time.sleep(_LOST)
        else:
            api_ready([site.pool.session(self._host)])
        now = time.monotonic()
        if not (
            self._client.await_good(_AFTER, now, TAKEN_SECONDS)
            and (self._quick or self._client.await_kept(now, TAKEN_SECONDS))
        ):
            self._why = self._why or f"no answers all the time within {TAKEN_SECONDS} s"

    def _mend(self, fault: Fault, start: float) -> float:
        """When the host was back; waits until it has undone the fault."""
        if fault.away:
            self._await_back(fault, start)
        back = time.monotonic()
        said = self._site.pool.session(self._host).run(LEFT, deadline=60).stdout.decode(errors="replace")
        if left := said.strip().splitlines():
            self._why = f"{self._host} did not get back all that it had; this failed there: {'; '.join(left)}"
        return back

    def _await_back(self, fault: Fault, start: float) -> None:
        pool, host = self._site.pool, self._host
        if not fault.reboots:
            time.sleep(max(0.0, start + fault.seconds + 0.5 - time.monotonic()))
        late = time.monotonic() + BACK_SECONDS
        while True:
            try:
                if pool.session(host).run(_BOOT_ID, deadline=30).stdout != self._boot:
                    return
                pool.session(host).close()  # it has not gone yet
            except UnreachableError:
                if time.monotonic() > late:
                    raise
            if time.monotonic() > late:
                raise UnreachableError(
                    f"{host} did not reboot within {BACK_SECONDS} s", f"look at {host} itself"
                )
            time.sleep(0.5)

    def _holding(self, start: float, gone: float, back: float) -> Holding:
        """Who had the address, up to the last moment that is known of all. One that is cut off or off counts until it
        was `gone`, when the last answer came, and from the moment when it was `back`; nothing else is known of one
        that was off, but that it had the address."""
        fault, host = self._fault, self._host
        away = {host: (gone, back)} if fault and fault.away else {}
        off = host if fault and fault.reboots and host in self._watched else ""
        samples = {each: collected(self._site.pool.session(each)) for each in self._watched if each != off}
        if not samples:
            return Holding(0.0, 0, 0.0, ())
        end = min((those[-1].moment for those in samples.values() if those), default=start)
        if off:
            samples[off] = [Sample(start, holds=True), Sample(gone - 0.001, holds=True)]
        seen = holding(samples, start, end, away)
        return replace(seen, at_end=tuple(each for each in seen.at_end if each != off))

    def _judged(self, start: float, end: float, gap: tuple[float, float], seen: Holding) -> FaultEnded:
        client, fault = self._client, self._fault
        new = concerned(client.answers, start, end)
        failed = [each for each in new if not each.well]
        outage = gap[1] - gap[0]
        breaks = [[each for each in line.breaks if each >= start] for line in client.lines]
        silences = [longest_gap(line.answers, start, end) for line in client.lines]
        why = self._why
        if not why and fault is not None and not fault.met(outage, len(failed)):
            why = f"wanted {fault.target}" + (f", and last: {failed[-1].why}" if failed else "")
        if not why and seen.twice > _TWICE:
            why = f"two hosts had the address for {seen.twice:.2f} s"
        backs = [
            longest_return(line.answers, those, end) for line, those in zip(client.lines, breaks, strict=True)
        ]
        return FaultEnded(
            fault=fault.name if fault else "",
            host=self._host,
            outage=round(outage, 3),
            failed=len(failed),
            total=len(new),
            silence=round(max(to - since for since, to in silences), 3),
            broken=sum(1 for each in breaks if each),
            kept=len(client.lines),
            back=round(max(backs), 3),
            twice=round(seen.twice, 3),
            samples=seen.samples,
            nobody=round(seen.nobody, 3),
            holders=seen.at_end,
            target=fault.target if fault else "",
            ok=not why,
            why=why,
        )


def _taken(site: Site, others: Sequence[str]) -> bool:
    """Whether one of the others gets the address in time."""
    script = await_address(str(site.vip), TAKEN_SECONDS)

    def waiting(host: str) -> bool:
        return site.pool.session(host).run(script, deadline=TAKEN_SECONDS + 15).status == 0

    futures = [begun(lambda host=host: waiting(host)) for host in others]  # type: ignore[misc]  # bound at once
    return any(each.result() for each in as_completed(futures))


def _check(host: str, what: str, status: int, stderr: bytes) -> None:
    if status != 0:
        said = stderr.decode(errors="replace").strip()
        raise ProvisionError(f"{host}: {what}: {said}", "is there a `systemd-run`, and a /run to write to?")
