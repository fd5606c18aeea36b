"""The locks of a run: on the state host always, on each host that is changed before it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool

if TYPE_CHECKING:
    from provisioner.action.load import Loaded


def lock(
    stack: ExitStack,
    pool: Pool,
    loaded: Loaded,
    hosts: Iterable[str],
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, RemoteLock]:
    """Takes the run lock of `hosts`, in parallel and while `meanwhile` runs; released when `stack` closes.

    Raises LockedError.
    """
    wanted = list(hosts)
    locks = {host: RemoteLock(lambda h=host: pool.dial(h), "run", loaded.holder) for host in wanted}  # type: ignore[misc]

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
    for fault in answers.values():
        if isinstance(fault, Exception):
            raise fault
    return locks
