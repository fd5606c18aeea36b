"""What pods of a cluster lose of each other while something is done to it, and the same as a command of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.action.connect import connect_to
from provisioner.action.locks import lock
from provisioner.action.registrytrust import node_reference
from provisioner.action.variables import AGNHOST
from provisioner.engine.events import Emit, ExchangeMeasured, Note, PairExchanged, Progress
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.exchange import Exchange, Marks

if TYPE_CHECKING:
    from provisioner.action.load import Loaded
    from provisioner.bundle.layout import Bundle, Image
    from provisioner.remote.pool import Pool
    from provisioner.remote.session import Session
    from provisioner.resources.model import Answer, Runner
    from provisioner.shell.script import Script
    from provisioner.spec.model import ClusterSpec

_SECONDS = 60.0
_ROUND = 5.0
_LAST = 15.0
"""Seconds in which pairs that were cut off have to be back before they are told to be cut off still."""
Timed = Callable[[str], AbstractContextManager[None]]
"""Tells of a step when it has ended."""


@dataclass(frozen=True)
class Running:
    """An exchange that is under way since it was marked."""

    exchange: Exchange
    pool: Pool
    since: Marks

    def lost(self) -> ExchangeMeasured:
        """What each pair lost until now. Raises ProvisionError."""
        return self.exchange.collect(everywhere(self.pool), self.since)

    def lost_in_all(self) -> ExchangeMeasured:
        """The same at the end: a pair that waits for an answer just now gets some seconds for that."""
        found = self.lost()
        if all(pair.back for pair in found.pairs):
            return found
        end, recent = time.monotonic() + _LAST, self.anew()  # what was written before is not read each time
        while not all(talks(pair) for pair in recent.lost().pairs) and time.monotonic() <= end:
            time.sleep(1)
        return self.lost()

    def anew(self) -> Running:
        """The same one, counted from now on."""
        return Running(self.exchange, self.pool, self.exchange.mark(everywhere(self.pool)))


def talks(pair: PairExchanged) -> bool:
    """Whether it has had an answer since it is measured, and has yet."""
    return pair.back and pair.requests > pair.failed


def exchange_of(loaded: Loaded) -> Exchange:
    """Between all nodes of the inventory. Raises ProvisionError without a cluster, or a bundle that has no agnhost."""
    spec, bundle = loaded.spec, loaded.bundle
    if spec is None or bundle is None:
        raise ProvisionError("there is no cluster whose pods could exchange anything")
    reference = node_reference(spec, agnhost_of(bundle))
    return Exchange(loaded.run, reference, _nodes(spec))


def stop_left(loaded: Loaded, pool: Pool) -> None:
    """Takes away what a run that was killed has left, if anything. Raises ProvisionError."""
    Exchange(loaded.run, "", _nodes(loaded.cluster)).stop(pool.session(loaded.state_host), everywhere(pool))


def _nodes(spec: ClusterSpec) -> tuple[str, ...]:
    return tuple(name for name, node in spec.nodes.items() if node.node)


def agnhost_of(bundle: Bundle) -> Image:
    """The image of the pods that ask and answer. Raises ProvisionError for a bundle that has none."""
    known = [each for each in bundle.images() if each.name == AGNHOST]
    return known[0] if known else bundle.image(f"{AGNHOST}:")


@contextmanager
def exchanging(exchange: Exchange, pool: Pool, runner: Runner) -> Iterator[Running]:
    """While pods exchange requests. In the end they are taken away, whatever came; why something failed comes before
    what could not be removed after it. Raises ProvisionError when they do not talk to begin with."""
    everyone = everywhere(pool)
    try:
        yield Running(exchange, pool, exchange.start(runner, everyone))
    except BaseException:
        with suppress(ProvisionError):
            exchange.stop(runner, everyone)
        raise
    exchange.stop(runner, everyone)


@contextmanager
def losses_told(loaded: Loaded, pool: Pool, emit: Emit, step: Timed) -> Iterator[Running | None]:
    """Pods exchange requests while the block runs, and what they lost of each other is told. Where they cannot begin
    to, as after a run that was cut off in the middle, the block runs with None. Raises as `exchanging`."""
    with ExitStack() as stack:
        running: Running | None = None
        try:
            with step("exchange"):
                runner = pool.session(loaded.state_host)
                running = stack.enter_context(exchanging(exchange_of(loaded), pool, runner))
        except UnreachableError:
            raise
        except ProvisionError as fault:
            emit(Note(level="warning", message=f"losses are not measured: {fault.reason}", hint=fault.hint))
        try:
            yield running
        except KeyboardInterrupt:
            if running is not None:
                emit(
                    Note(
                        level="warning",
                        message="interrupted: pods that exchange requests are taken away first",
                    )
                )
            raise
        if running is not None:
            lost = running.lost_in_all()
            emit(lost)
            check_heard(lost)


def check_heard(lost: ExchangeMeasured) -> None:
    """Raises ProvisionError naming the pairs that do not hear of each other at the end."""
    silent = [f"{pair.source} from {pair.target}" for pair in lost.pairs if not pair.back]
    if silent:
        raise ProvisionError(
            f"pods get no answers any more: {', '.join(silent)}",
            "the network's own pods on these nodes tell why (`kubectl get pods -A -o wide`); --rollback leads back",
        )


def everywhere(pool: Pool) -> Callable[[Mapping[str, Script]], Mapping[str, Answer | Exception]]:
    """Runs scripts on their hosts, all at once."""

    def run(scripts: Mapping[str, Script]) -> Mapping[str, Answer | Exception]:
        def ask(session: Session) -> Answer:
            return session.run(scripts[session.host], deadline=_SECONDS)

        return pool.map(list(scripts), ask)

    return run


def measure(loaded: Loaded, emit: Emit, *, seconds: int) -> ExchangeMeasured:
    """Lets pods exchange requests for `seconds`, and emits what they lost. Raises ProvisionError, and LockedError while
    another run is at work."""
    exchange = exchange_of(loaded)
    with ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, [loaded.state_host, *exchange.nodes]))
        lock(stack, pool, loaded, [loaded.state_host])
        with exchanging(exchange, pool, pool.session(loaded.state_host)) as running:
            _wait(seconds, emit)
            report = running.lost()
        emit(report)
    return report


def _wait(seconds: int, emit: Emit) -> None:
    began = time.monotonic()
    while (spent := time.monotonic() - began) < seconds:
        emit(Progress(task="exchange", subject="requests", done=int(spent), total=seconds, unit="s"))
        time.sleep(min(_ROUND, seconds - spent))
