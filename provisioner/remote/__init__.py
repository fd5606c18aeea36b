"""Sessions over SSH."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


# paramiko imports invoke, and with it asyncio and unittest.mock, for `Match exec` in ssh_config alone: 45 ms of
# every start. importlib's LazyLoader does not help: in Python 3.11 the import statement itself wakes it.
sys.modules.setdefault("invoke", _Deferred("invoke"))
