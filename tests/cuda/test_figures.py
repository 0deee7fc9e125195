"""What tools/gpu_figures.py makes of measurements."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import gpu_figures

RESULT = {
    "kind": "matmul", "label": "4096", "dtype": "float32", "seconds": 2e-3, "peers": {"torch": 3e-3, "cupy": 2.5e-3},
    "ratio": 1.25, "share": None,
}  # fmt: skip


def test_page():
    reports = [{"machine": {"card": "A", "ISA": "avx2"}, "results": [RESULT]}, {"machine": {}, "results": [RESULT]}]
    text = gpu_figures.page(f"# Page\n\n{gpu_figures.HEADING}\n\nNone yet.\n", reports)
    assert text.startswith("# Page\n\n## Figures\n") and "None yet" not in text
    assert "- card: A\n" in text and "avx2" not in text
    assert text.count("| matmul 4096 | float32 | 2000.0 µs | cupy 2500.0 | 1.25 |  |") == 2
    alone = RESULT | {"peers": {}, "ratio": None, "share": 0.914}
    assert gpu_figures.row(alone).endswith("| 2000.0 µs |  |  | 91% |")
    with pytest.raises(ValueError, match="no line"):
        gpu_figures.page("# Page\n", reports)


def test_the_page_has_its_place():
    assert gpu_figures.HEADING in gpu_figures.PAGE.read_text(encoding="utf-8").splitlines()
