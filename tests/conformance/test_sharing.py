"""Bitwise the same results for any number of threads."""

import pytest
from cases import Case, cases, make, parameters, presence, sensible, sizes
from running import run, team

from fastnn import backends
from fastnn.backends import compiled
from fastnn.table import TABLE

#: Threads to try, whether there are as many CPUs or not.
TEAMS = (2, 3, 7)


def load_compiled(name: str) -> compiled.CompiledBackend:
    kernels = backends.load(name)
    if not isinstance(kernels, compiled.CompiledBackend):
        pytest.skip(f"backend {name!r} has no team of threads")
    return kernels


def assert_same_bits(case: Case, parts: int, one: dict, many: dict) -> None:
    for name, want in one.items():
        assert many[name].tobytes() == want.tobytes(), f"{case}: {name} differs between 1 and {parts} threads"


def test_shares(op, dtype, backend):
    """Threads one after the other, in both orders: no share depends on another one of its phase."""
    kernels = load_compiled(backend)
    for case in cases(op, dtype):
        one = run(kernels, case, dtype, team(kernels, dtype, 1, [0]))
        for parts in TEAMS:
            for order in (range(parts), range(parts)[::-1]):
                assert_same_bits(case, parts, one, run(kernels, case, dtype, team(kernels, dtype, parts, order)))


def large(name: str, dtype: str) -> list[Case]:
    """Cases with work for the largest team, with all and with no optional arguments."""
    op = TABLE[name]
    itemsize = 4 if dtype == "float32" else 8
    *_, dims = sizes(op)
    grow = 1
    while compiled.threads_worth(compiled.work(op, dims, itemsize), max(TEAMS)) < max(TEAMS):
        grow += 2
        dims = {d: n * (grow if d in ("n", "b", "m", "o") else 1) for d, n in list(sizes(op))[-1].items()}
    found = []
    for params in parameters(op, dims)[:2]:
        options = [p for p in (presence(op)[0], presence(op)[-1]) if sensible(op, params, p)]
        found += [make(op, dims, params, present, dtype) for present in options]
    return found


def test_threads(op, dtype, backend, monkeypatch):
    """Real threads, on arrays large enough for all of them."""
    kernels = load_compiled(backend)
    for case in large(op, dtype):
        monkeypatch.setattr(compiled, "get_num_threads", lambda: 1)
        one = run(kernels, case, dtype)
        for parts in TEAMS:
            monkeypatch.setattr(compiled, "get_num_threads", lambda parts=parts: parts)
            assert_same_bits(case, parts, one, run(kernels, case, dtype))
