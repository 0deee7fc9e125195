#!/bin/sh
# Run the conformance tests of the compiled kernels under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#     tools/sanitize.sh [pytest arguments]
#
# A copy of the sources is built with gcc and both sanitizers in a temporary folder; the tests run there once per
# instruction set that this machine has. Needs gcc, and in Python what building and testing need. FASTNN_ISA limits
# the run to one instruction set, PYTHON names the interpreter.
set -eu

python=${PYTHON:-python}
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -R "$root/fastnn" "$root/fastnn_ext" "$root/tests" "$root/setup.py" "$root"/*.toml "$root"/README* "$root"/LICENSE* "$copy"
find "$copy" -name '*.so' -delete
cd "$copy"
export CC=gcc FASTNN_SANITIZE=1 # the tests build the emulated AMX unit with sanitizers too
"$python" setup.py -q build_ext --inplace

# The interpreter is not instrumented, so the runtimes must be loaded before it. It never frees everything at its end:
# leaks are not looked for. PYTHONMALLOC lets every array be a block that the sanitizer knows.
export PYTHONPATH="$copy" PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
sanitized() {
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" "$@"
}

status=0
for isa in ${FASTNN_ISA:-$(sanitized "$python" -c 'import fastnn_ext; print(*fastnn_ext.ISAS)')}; do
    export FASTNN_ISA="$isa"
    echo "== $isa"
    # A kernel told a size too large must be caught, or this run would say nothing.
    overrun='import numpy as np
from fastnn import backends, table
backends.load("cython").run(table.TABLE["exp"], [np.ones(1000), np.empty(1001)], {"n": 1001}, {})'
    if sanitized "$python" -c "$overrun" 2>/dev/null; then
        echo "the kernels were built without sanitizers" >&2
        exit 1
    fi
    sanitized "$python" -m pytest tests/conformance --backend cython -q -p no:cacheprovider "$@" || status=1
done
exit $status
