"""Every kernel against the expected values: all sizes, flags and optional arguments.

In each case outputs lie within guard values and hold NaN before the call; inputs are read-only and must stay as they
are; only what the table declares is updated.
"""

from expected import assert_close, cases_with_expected, magnitude, tolerance
from running import run

from fastnn import backends
from fastnn.table import TABLE


def test_values(op, dtype, backend):
    kernels = backends.load(backend)
    assert kernels.supports(op, dtype)
    allowed = tolerance(TABLE[op], backend, dtype)
    for case, wanted in cases_with_expected(op, dtype):
        written = run(kernels, case, dtype)
        assert written.keys() == wanted.keys()
        for name, want in wanted.items():
            assert_close(f"{case}: {name}", written[name], want, allowed, magnitude(case))
