"""Whether hosts are still there, asked while something is waited for that a lost one holds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.podwait import PRESENCE
from provisioner.remote.outcome import LostError
from provisioner.shell.script import Script

if TYPE_CHECKING:
    from provisioner.remote.pool import Pool
    from provisioner.remote.session import Session

T = TypeVar("T")

_SECONDS = 25.0
"""More than the 20 s within which a session misses its host (remote.dial.Timeouts): one that is only slow is there."""
_NOTHING = Script(":\n")


def begun(work: Callable[[], T]) -> Future[T]:
    """`work`, in a thread of its own. Nobody waits for that in the end: it ends with its connection."""
    threads = ThreadPoolExecutor(1)
    future = threads.submit(work)
    threads.shutdown(wait=False)
    return future


@dataclass(frozen=True)
class Presence:
    """Of `hosts`, which the run is connected with."""

    pool: Pool
    hosts: Sequence[str]

    def check(self) -> None:
        """Raises UnreachableError that names those that are gone. What else may ail a host is not asked."""
        # In a thread: an interruption of this one must not end the pool, by which the gate has to clean up.
        answers = begun(lambda: self.pool.map(self.hosts, _ask)).result()
        faults = [each for each in answers.values() if isinstance(each, Exception)]
        gone = [each for each in faults if isinstance(each, UnreachableError)]
        if gone:
            raise UnreachableError("\n".join(each.reason for each in gone), gone[0].hint)
        for fault in faults:
            raise fault

    def result(self, work: Future[T]) -> T:
        """What came of `work`. Raises what that raised, or UnreachableError when a host is gone meanwhile; `work`
        then goes on until the pool is closed."""
        while not wait([work], PRESENCE).done:
            self.check()
        return work.result()

    def beside(self, first: Callable[[], object], second: Callable[[], T]) -> T:
        """The result of `second`, while which `first` runs, too. What `first` raises comes before what `second` does,
        but for hosts that are lost: they are why the other fails."""
        other = begun(first)
        try:
            said = second()
        except UnreachableError:
            raise
        except ProvisionError:
            self.result(other)
            raise
        except BaseException:  # interrupted: without connections the thread ends now
            self.pool.close()
            raise
        self.result(other)
        return said


def _ask(session: Session) -> None:
    try:
        session.run(_NOTHING, deadline=_SECONDS, what="the check that it is still there")
    except LostError:
        raise
    except ProvisionError:  # who refuses (MaxSessions), or is slow, is there
        return
