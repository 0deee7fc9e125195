#!/bin/sh
# Everything that only a CUDA device can tell, in two parts, each within ten minutes:
#
#     tools/measure_gpu.sh test [FOLDER]     the conformance, unit and model suites on the device; memcheck and racecheck
#     tools/measure_gpu.sh bench [FOLDER]    the benchmarks beside PyTorch and CuPy, and their figures for docs/gpu.md
#
# Logs and figures go into FOLDER (default: gpu-results). Needs `pip install "fastnn[cuda13,test]"`; PyTorch and CuPy
# are compared with where they are installed; compute-sanitizer and ptxas come with the CUDA toolkit. PYTHON names the
# interpreter, BENCH the groups of benchmarks.
set -eu

python=${PYTHON:-python}
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(mkdir -p "${2:-gpu-results}" && cd "${2:-gpu-results}" && pwd)
cd "$root"
export PYTHONPATH="$root" PYTHONUNBUFFERED=1
status=0

"$python" -m fastnn info | tee "$out/info.txt"
if ! "$python" -c 'import sys; from fastnn import backends; sys.exit(backends.missing("cuda") or 0)'; then
    exit 1
fi

case ${1:-} in
test)
    "$python" -m pytest --backend cuda -q -p no:cacheprovider tests/conformance tests/unit tests/training tests/cuda \
        2>&1 | tee "$out/tests.txt" || true
    grep -qE '^[0-9]+ passed' "$out/tests.txt" && ! grep -qE '[0-9]+ (failed|error)' "$out/tests.txt" || status=1
    if command -v ptxas >/dev/null; then
        "$python" tools/ptxas_report.py matmul dense | tee "$out/ptxas.txt"
    fi
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck; do
            compute-sanitizer --tool "$tool" --error-exitcode 1 --log-file "$out/$tool.txt" \
                "$python" -m pytest --backend cuda -q -x -p no:cacheprovider tests/conformance/test_values.py \
                -k "${SANITIZED:-matmul or dense or sum or softmax or norm or adam}" || status=1
        done
    else
        echo "compute-sanitizer is not on PATH: memcheck and racecheck were not run" | tee "$out/sanitizer.txt"
    fi
    ;;
bench)
    for group in ${BENCH:-matmul dense tensor_cores training optimizers activations softmax}; do
        "$python" -m fastnn bench "$group" --backend cuda --against torch,cupy --json "$out/$group.json" \
            2>&1 | tee "$out/$group.txt" || status=1
    done
    "$python" tools/gpu_figures.py "$out" || status=1
    ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
exit $status
