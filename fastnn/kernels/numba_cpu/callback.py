"""C callbacks that Numba compiles, or loads from its disk cache without what only compiling needs.

Before Numba loads anything it imports all that it can compile, SciPy's linear algebra among it, and registers it: two
fifths of a first training step's second. Machine code needs the run time alone.
"""

from __future__ import annotations

from typing import Any

from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.runtime import rtsys


class _Cache(FunctionCache):
    """The cache of one function."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None: whoever compiles then makes the context ready."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class Callback(CFunc):
    """What `numba.cfunc` makes."""

    def enable_caching(self) -> None:
        """Keep machine code on disk.

        Raises
        ------
        RuntimeError
            If there is no folder that may be written to.
        """
        self._cache = _Cache(self._pyfunc)
