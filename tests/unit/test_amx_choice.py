"""Who may use the AMX unit: what CPU and system have, what the user wants, and what a first product shows.

Machines without the unit must not notice that there is one; that it is chosen where it works is shown with stand-ins.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastnn_ext
from fastnn.backends.cython_cpu import KERNELS
from fastnn_ext import amx_check, cpu, matmul

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="there is no /proc/cpuinfo")
def test_no_unit_no_permission():
    flags = set(CPUINFO.read_text(encoding="utf-8").split())
    if not {"amx_tile", "amx_bf16"} <= flags:
        assert not cpu.request_amx() and fastnn_ext.ISA != "amx" and "amx" not in fastnn_ext.ISAS


@pytest.mark.parametrize(
    ("permitted", "agrees", "wanted", "chosen"),
    (
        (True, True, "amx", "amx"), (True, False, "amx", "avx512"), (False, True, "amx", "avx512"),
        (True, True, None, "avx512"), (True, True, "avx512", "avx512"), (True, True, "avx2", "avx2"),
    ),
)  # fmt: skip
def test_choice(permitted, agrees, wanted, chosen, monkeypatch):
    asked = []
    stand_ins = {
        "fastnn_ext.amx_check": SimpleNamespace(agree=lambda amx, fma: (amx, fma) == ("tiles", "vectors") and agrees),
        "fastnn_ext._amx.matmul": "tiles",
        "fastnn_ext._avx512.matmul": "vectors",
    }
    monkeypatch.setattr(fastnn_ext, "import_module", stand_ins.__getitem__)
    monkeypatch.setattr(fastnn_ext, "find_spec", stand_ins.__contains__)
    monkeypatch.setattr(fastnn_ext, "ISAS", ("baseline", "avx2", "avx512"))
    monkeypatch.setattr(cpu, "request_amx", lambda: asked.append(1) or permitted)
    if wanted is None:
        monkeypatch.delenv("FASTNN_ISA", raising=False)
    else:
        monkeypatch.setenv("FASTNN_ISA", wanted)
    assert fastnn_ext._choose() == chosen == fastnn_ext.ISAS[("baseline", "avx2", "avx512", "amx").index(chosen)]
    assert len(asked) == (wanted == "amx")
    assert ("amx" in fastnn_ext.ISAS) == (chosen == "amx")


@pytest.mark.parametrize("best", ("baseline", "avx2"))
def test_nothing_is_asked_for_without_avx512(best, monkeypatch):
    monkeypatch.setattr(cpu, "request_amx", lambda: pytest.fail("asked"))
    monkeypatch.setattr(fastnn_ext, "ISAS", ("baseline", "avx2")[: 1 + (best == "avx2")])
    monkeypatch.setenv("FASTNN_ISA", "amx")
    assert fastnn_ext._choose() == best


def test_a_build_without_the_unit(monkeypatch):
    monkeypatch.setattr(cpu, "request_amx", lambda: pytest.fail("asked"))
    monkeypatch.setattr(fastnn_ext, "ISAS", ("baseline", "avx2", "avx512"))
    monkeypatch.setattr(fastnn_ext, "find_spec", lambda name: None)
    monkeypatch.setenv("FASTNN_ISA", "amx")
    assert fastnn_ext._choose() == "avx512"


def test_check():
    """A kernel that computes the same is trusted, one that computes a sum instead of a product is not."""
    assert amx_check.agree(matmul, matmul)
    wrong = SimpleNamespace(KERNELS={"matmul": KERNELS["subtract"]}, WORKSPACE=matmul.WORKSPACE)
    assert not amx_check.agree(wrong, matmul)


def test_check_of_the_emulated_unit():
    sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
    try:
        import emulated
    finally:
        sys.path.pop(0)
    assert amx_check.agree(emulated.module(), matmul)
