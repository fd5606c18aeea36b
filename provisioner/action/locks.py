"""The locks of a run: on the state host always, on each host that is changed before it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from provisioner.action.reach import reach
from provisioner.engine.journal import is_over
from provisioner.errors import UnreachableError

if TYPE_CHECKING:
    from provisioner.action.load import Loaded
    from provisioner.remote.lock import RemoteLock
    from provisioner.remote.pool import Pool


def lock(
    stack: ExitStack,
    pool: Pool,
    loaded: Loaded,
    hosts: Iterable[str],
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, RemoteLock]:
    """Takes the run lock of `hosts`, in parallel and while `meanwhile` runs; released when `stack` closes.

    Raises LockedError, and UnreachableError naming every host of the run that is not reached.
    """
    from provisioner.remote.lock import RemoteLock

    wanted = list(hosts)
    over = partial(_is_over, loaded.who)
    locks = {host: RemoteLock(partial(pool.dial, host), "run", loaded.holder, over=over) for host in wanted}

    def take(host: str) -> None:
        locks[host].acquire()

    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(pool.each, wanted, take)
        try:
            meanwhile()
            answers = taking.result()
        except BaseException:  # interrupted: without connections the thread ends now
            pool.close()
            raise
    for held in locks.values():
        stack.callback(held.release)
    faults = [each for each in answers.values() if isinstance(each, Exception)]
    if any(isinstance(each, UnreachableError) for each in faults):
        reach(pool, loaded.hosts)  # others may not be reached either, and are named with this one
    for fault in faults:
        raise fault
    return locks


def _is_over(who: str, holder: str) -> bool:
    """Whether the holder of a lock was a run of `who`, on this machine, that has ended: it lost the host before it
    could give the lock back."""
    found = re.match(r"(\S+), pid \d+, run (\d{8}-\d{6}-[0-9a-f]{4}), since ", holder)
    return found is not None and found[1] == who and is_over(found[2])
