"""The CUDA kernels in Numba's simulator, which proves indexing, barriers and arithmetic without a GPU.

All run in one process of their own (`simulate.py`): Numba looks at NUMBA_ENABLE_CUDASIM when it is first imported.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    # The limit is for a barrier that some thread never reaches.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text(encoding="utf-8"))


def test_values(op, dtype, results):
    failure, calls = results[f"{op} {dtype}"]
    assert not failure, failure
    assert calls > 3


def test_training(results):
    """Recorded programs give the reference's losses and weights, dropout, clipping and slots included."""
    assert not results["training"], results["training"]


def test_fit_reads_what_is_asked_for(results):
    """Losses stay on the device until a callback or the epoch's end wants them; nothing else changes."""
    well, badly = results["fitted"]["well"], results["fitted"]["badly"]
    step, read = "_queue_step", "_read"
    events = {name: found[0] for name, found in well.items()}
    assert events.pop("cuda False") == [*[step] * 3, *[read] * 3] * 2
    assert len(events) == 3 and all(found == [step, read] * 6 for found in events.values())
    assert well["cuda True"][2:] == well["cuda False"][2:] and len(well["cuda True"][1]) == 6
    np.testing.assert_allclose(well["cuda True"][1], well["reference True"][1], rtol=1e-12)
    np.testing.assert_allclose(well["cuda False"][2], well["reference False"][2], rtol=1e-12)
    ends = [found[2] for found in badly.values()]
    assert len(ends) == 4 and all(end == ends[0] and len(end) == 3 for end in ends), ends


def test_graphs(results):
    """Stretches of a program replayed as graphs, with a stand-in for the driver, give the same training.

    Rates, step counts and dropout masks change from replay to replay. Where the driver refuses, launches go one by one,
    and it is said once.
    """
    with_graphs, *refused = results["graphs"].values()
    assert not with_graphs["wrong"], with_graphs["wrong"]
    assert with_graphs["replayed"] >= 2 and with_graphs["plain"] is None and not with_graphs["told"]
    for call, result in zip(list(results["graphs"])[1:], refused, strict=True):
        assert not result["wrong"], result["wrong"]
        assert result["replayed"] == 0
        assert result["plain"] == f"{call}: 900"
        assert len(result["told"]) == 1 and "launched one by one" in result["told"][0]


def test_aligned_products(results):
    assert not results["aligned"], results["aligned"]


def test_elements_16_bytes_at_once(results):
    """Elementwise ops, with arrays that begin at multiples of 16 bytes and others: same bits, nothing beyond them."""
    assert not results["vectors"], results["vectors"]


def test_optimizers_alone(results):
    """One launch for all arrays, no copy of gradients, and the bits of a launch for each array."""
    assert not results["updates"], results["updates"]


def test_products_by_tensor_cores(results):
    """Under the policies for less precision, with the instructions emulated as the PTX ISA defines their fragments."""
    assert not results["policies"], results["policies"]


def test_products_of_halves(results):
    """float16 and bfloat16 by the tensor cores, by the instructions of 7.5, and widened where there are none."""
    assert not results["halves"], results["halves"]


def test_interoperation(results):
    """Arrays of other libraries on the device are taken as they are; those in the wrong place are told where to go."""
    found = results["interoperation"]
    wanted = [[[0, 2, 3], [4, 0, 6]], [[14, 4], [4, 77]]]
    assert found.pop("Foreign") == wanted
    if importlib.util.find_spec("numba_cuda") is not None:
        assert found.pop("Exchanged") == found.pop("Ordered") == wanted
        if importlib.util.find_spec("torch") is not None:
            assert found.pop("ForeignHalf") == [wanted[1], "bfloat16"]
    streams = found.pop("streams")
    assert set(streams) <= {-1} and len(streams) >= 4 * (importlib.util.find_spec("numba_cuda") is not None)
    assert found.pop("strided") == "cuda: array: expected a C-contiguous array, got strides (4, 12)"
    for name in ("host", "list, out", "host, out", "host, moved"):
        assert "fastnn.to_device" in found.pop(name), name
    for name in ("device", "device, out"):
        assert "fastnn.to_host" in found.pop(name), name
    for name in ("overlap, out", "overlap, moved"):
        assert "an array that overlaps" in found.pop(name), name
    assert found.pop("moved") == [True, True]
    assert len(found) == 4
    for name, nan in found.items():  # the loss, the gradient of the good row, that of the other
        assert nan == [True, False, False, False, True, True, True], name


def test_out_of_memory(results):
    """The error says what was asked for and what there is."""
    assert results["exhausted"].startswith("cuda: an array of 12,000 bytes does not fit: ")
