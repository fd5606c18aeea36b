"""What the registry of the tests does on order: each fault is used up by the first request that it takes."""

from __future__ import annotations

import time

from registryserver import Fault, Handler

ACCOUNT = {"username": "me", "password": "secret"}
CONTENT = bytes(range(256)) * 1000


def busy(status: int, method: str = "", **headers: str) -> Fault:
    """Answers so to one request (of `method`), whose body is not read."""

    def fault(handler: Handler) -> bool:
        if method not in {"", handler.command}:
            return False
        handler.close_connection = True
        handler.answer(status, b"", **headers)
        return True

    return fault


def silence(method: str, part: str, seconds: float) -> Fault:
    """Reads the request, and says nothing."""

    def fault(handler: Handler) -> bool:
        if handler.command != method or part not in handler.path:
            return False
        handler.close_connection = True
        handler.used_up(fault)
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        time.sleep(seconds)
        return True

    return fault


def breaking(method: str, count: int, nth: int = 1) -> Fault:
    """Take `count` bytes of the body of the `nth` such request into the upload, then cut the connection."""
    seen = [0]

    def fault(handler: Handler) -> bool:
        if handler.command != method or "/uploads/" not in handler.path:
            return False
        seen[0] += 1
        if seen[0] < nth:
            return False
        name = handler.path.partition("?")[0].rpartition("/")[2]
        data = handler.rfile.read(count)
        handler.state.received += len(data)
        handler.state.uploads[name] += data
        handler.close_connection = True
        handler.connection.close()
        return True

    return fault
