"""Starts a program and tells what it used: `launch.py REPORT PROGRAM ARGUMENT...`, as a program of its own.

The kernel counts the memory of who started a program as the program's peak, too (fork, then exec): so a small process
has to do it, and not the one that measures.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Writes seconds, CPU seconds, peak in MiB and status of the program to REPORT, as JSON."""
    report, *argv = sys.argv[1:]
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.execvp(argv[0], argv)  # noqa: S606
    _, status, usage = os.wait4(pid, 0)
    told = {
        "seconds": time.perf_counter() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="ascii") as file:  # noqa: PTH123  # pathlib is four times this program
        json.dump(told, file)


if __name__ == "__main__":
    main()
