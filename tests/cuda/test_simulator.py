"""The CUDA kernels in Numba's simulator, which proves indexing, barriers and arithmetic without a GPU.

All run in one process of their own (`simulate.py`): Numba looks at NUMBA_ENABLE_CUDASIM when it is first imported.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

if importlib.util.find_spec("numba") is None:
    pytest.skip('the simulator needs Numba; `pip install "fastnn[numba]"` provides it', allow_module_level=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulator") / "results.json"
    package = str(Path(fastnn.__file__).parents[1])
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": package}
    command = [sys.executable, str(Path(__file__).with_name("simulate.py")), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8"))


def test_values(op, dtype, results):
    failure, calls = results[f"{op} {dtype}"]
    assert not failure, failure
    assert calls > 3


def test_training(results):
    """Recorded programs give the reference's losses and weights, dropout, clipping and slots included."""
    assert not results["training"], results["training"]


def test_out_of_memory(results):
    """The error says what was asked for and what there is."""
    assert results["exhausted"].startswith("cuda: an array of 12,000 bytes does not fit: ")
