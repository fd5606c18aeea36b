"""Which plug-in and mode suit a site: the table's rules, and what each mode needs, judged from answers alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from provisioner.engine.advice import Advice, Alternative, Better, Measured, Reason, Requirements
from provisioner.errors import InputError, Problem
from provisioner.network.advicetable import Choice, Elsewhere, Rule, Table
from provisioner.network.combinations import kernel_for
from provisioner.network.needs import Needs, network_needs
from provisioner.network.section import network_of, section_of, to_fill_in
from provisioner.network.site import Site

_NEEDS = "what this version's checks ask for before anything changes"


@dataclass(frozen=True)
class _Verdict:
    """`faults`: why the hosts cannot; `excluded`: the rules that rule it out."""

    choice: Choice
    needs: Needs
    faults: tuple[Reason, ...]
    excluded: tuple[Rule, ...]
    rules: tuple[Rule, ...]

    @property
    def possible(self) -> bool:
        return not self.faults and not self.excluded

    @property
    def points(self) -> int:
        return sum(rule.points for rule in self.rules)

    @property
    def against(self) -> tuple[Reason, ...]:
        return tuple(rule.reason for rule in self.rules if rule.points <= 0)


def judge(site: Site, table: Table) -> Advice:
    """The choice that the most speaks for. Raises InputError when answers contradict each other, or the hosts."""
    told = [
        Problem(_options(each.when), 0, 0, each.reason, each.hint)
        for each in table.contradictions
        if site.fits(each.when)
    ]
    if told:
        raise InputError(told)
    verdicts = [_verdict(choice, site, table) for choice in table.choices]
    possible = [each for each in verdicts if each.possible]
    if not possible:
        raise InputError(list(_impossible(verdicts, site)))
    # max() gives the first of equals.
    return _advice(max(possible, key=lambda each: each.points), verdicts, site, table)


def _verdict(choice: Choice, site: Site, table: Table) -> _Verdict:
    rules = [rule for rule in table.rules if rule.about & choice.traits and site.fits(rule.when)]
    needs = network_needs(network_of(section_of(choice, site)), site.nodes or 0, site.releases)
    return _Verdict(
        choice,
        needs,
        tuple(_faults(needs, site)),
        tuple(rule for rule in rules if rule.out),
        tuple(rule for rule in rules if not rule.out),
    )


def _faults(needs: Needs, site: Site) -> Iterator[Reason]:
    missing = [each for each in needs.modules if site.modules is not None and each not in site.modules]
    if missing:
        yield Reason(
            f"it needs the kernel's module {' and '.join(missing)}, which not all nodes have", _NEEDS
        )
    if site.kernel is not None and site.kernel < needs.kernel:
        wanted, has = ".".join(map(str, needs.kernel)), ".".join(map(str, site.kernel))
        yield Reason(f"it needs Linux {wanted}, and there is {has}", _NEEDS)
    strange = sorted(site.architectures - set(needs.architectures)) if needs.architectures else []
    if strange:
        yield Reason(
            f"it is made for {' and '.join(needs.architectures)}, not {' and '.join(strange)}", _NEEDS
        )
    if needs.adjacent and site.subnets != "one":
        known = "they are in several" if site.subnets == "several" else "that is not known"
        yield Reason(f"all nodes have to be in one subnet, and {known}", _NEEDS)


def _impossible(verdicts: Sequence[_Verdict], site: Site) -> Iterator[Problem]:
    """The wishes that nothing the hosts can do fulfils, and what hosts would need for them."""
    wishes = [{name for rule in each.excluded for name in rule.when} for each in verdicts if not each.faults]
    hosts = [each for each in verdicts if not each.excluded] if wishes else verdicts
    lacks = "; ".join(dict.fromkeys(fault.text for each in hosts for fault in each.faults))
    if not wishes:
        places = _options(("modules", "kernel", "subnets"))
        yield Problem(
            places, 0, 0, f"no mode of a plug-in works on these nodes: {lacks}", "give them what is missing"
        )
        return
    blamed = _fewest(wishes)
    place = ", ".join(f"{_named(name)} {getattr(site, name)}" for name in blamed)
    reason = f"nothing that is installed does {'this' if len(blamed) == 1 else 'both'} here"
    hint = "answer otherwise, or give the nodes what is missing" if lacks else "answer otherwise"
    yield Problem(place, 0, 0, f"{reason}: {lacks}" if lacks else reason, hint)


def _fewest(wishes: Sequence[set[str]]) -> tuple[str, ...]:
    """The fewest names of which each of `wishes` has one."""
    names = sorted(set().union(*wishes))
    chosen = (each for count in range(1, len(names) + 1) for each in combinations(names, count))
    return next(each for each in chosen if all(wish & set(each) for wish in wishes))


def _advice(best: _Verdict, verdicts: Sequence[_Verdict], site: Site, table: Table) -> Advice:
    choice, needs, section = best.choice, best.needs, section_of(best.choice, site)
    return Advice(
        name=choice.name,
        title=choice.title,
        plugin=choice.plugin,
        reasons_for=tuple(rule.reason for rule in best.rules if rule.points > 0),
        reasons_against=best.against,
        needs=Requirements(
            needs.modules,
            ".".join(map(str, needs.kernel)),
            needs.udp,
            needs.tcp,
            needs.protocols,
            bool(needs.adjacent),
        ),
        alternatives=(*_others(best, verdicts), *_elsewhere(site, table)),
        better=tuple(_better(best, site, table)),
        measured=tuple(_measured(choice, site, table)),
        section=section,
        fill_in=to_fill_in(choice, section),
        remarks=tuple(_remarks(best, site)),
    )


def _others(best: _Verdict, verdicts: Sequence[_Verdict]) -> Iterator[Alternative]:
    """Those that would do first, the best of them at the top."""
    rest = sorted(
        (each for each in verdicts if each is not best), key=lambda each: (not each.possible, -each.points)
    )
    for each in rest:
        worse = tuple(reason for reason in each.against if reason not in best.against)
        reasons = (*(rule.reason for rule in each.excluded), *each.faults) or worse
        better = Reason(f"{best.choice.title} has more for it")
        yield Alternative(each.choice.name, each.choice.title, not each.possible, reasons or (better,))


def _elsewhere(site: Site, table: Table) -> Iterator[Alternative]:
    for each in table.elsewhere:
        reasons = (each.why, *_against(each, site))
        yield Alternative(each.name, each.title, True, reasons, installable=False)


def _better(best: _Verdict, site: Site, table: Table) -> Iterator[Better]:
    for each in table.elsewhere:
        if each.fits is not None and site.fits(each.fits[0]):
            reasons = (each.fits[1], each.why, *_against(each, site))
            yield Better(each.name, each.title, reasons, best.choice.title)


def _against(each: Elsewhere, site: Site) -> Iterator[Reason]:
    yield from (reason for when, reason in each.against if site.fits(when))
    wanted = kernel_for(each.name, site.releases.get(each.name))
    if site.kernel is not None and site.kernel < wanted.version:
        yield Reason(f"it needs Linux {'.'.join(map(str, wanted.version))}", wanted.source)


def _measured(choice: Choice, site: Site, table: Table) -> Iterator[Measured]:
    for run in table.runs:
        wanted = (*run.always, *(run.encrypted if site.encryption == "yes" else ()))
        own = tuple(name for name in run.rows if choice.measured and name.split(",")[0] == choice.measured)
        rows = {name: run.rows[name] for name in run.rows if name in (*wanted, *own)}
        modes = {name: run.modes[name] for name in rows}
        yield Measured(
            run.title, run.url, run.date, run.what, run.hardware, run.columns, rows, modes, own, run.lesson
        )


def _remarks(best: _Verdict, site: Site) -> Iterator[str]:
    choice = best.choice
    if not choice.measured:
        yield f"no published figures are known of {choice.title}: those of others show the order of magnitude"
    if site.latency == "yes":
        yield "no published latency has a method that is known, so none is shown: measure on your own hosts"
    if site.odd_links and choice.plugin == "calico":
        links = ", ".join(site.odd_links)
        yield f"mtu is written out: Calico looks for it at links named like eth0 or eno1, not at {links}"
    if site.mtus_differ:
        yield f"the MTUs of the nodes' links differ; the smallest is {site.mtu}"
    if site.mtu and site.mtu <= 1500 and site.environment == "metal":
        yield "with jumbo frames on switches and hosts throughput grows more than by any choice of a plug-in"
    if best.needs.modules and site.modules is None:
        modules = ", ".join(best.needs.modules)
        yield f"whether all kernels have {modules} is not known; `apply` asks before it changes anything"


def _named(name: str) -> str:
    return (
        "cluster.proxy.mode"
        if name == "proxy"
        else "cluster.network.pod_cidrs"
        if name == "ipv6"
        else f"--{name}"
    )


def _options(names: Iterable[str]) -> str:
    return ", ".join(map(_named, names))
