"""Who may import whom: downwards only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnn
import fastnn_ext

ROOT = Path(fastnn.__file__).parent
#: Layers from the bottom up. A module imports from its own layer and those below.
LAYERS = (
    ("fastnn.table",),
    ("fastnn_ext", "fastnn.kernels"),
    ("fastnn.checks", "fastnn.threadcount"),
    ("fastnn.backends",),
    ("fastnn.program", "fastnn.drawing", "fastnn.nodes", "fastnn.ops", "fastnn.autodiff", "fastnn.rules",
     "fastnn.config", "fastnn.precision"),
    (
        "fastnn.callbacks", "fastnn.constraints", "fastnn.csv_table", "fastnn.data", "fastnn.datasets",
        "fastnn.initializers", "fastnn.layers", "fastnn.loss", "fastnn.losses", "fastnn.metrics", "fastnn.optimizers",
        "fastnn.preparation", "fastnn.preprocessing", "fastnn.registry", "fastnn.regularizers", "fastnn.schedules",
    ),
    (
        "fastnn.batches", "fastnn.frozen", "fastnn.guard", "fastnn.inspection", "fastnn.model", "fastnn.plots",
        "fastnn.range_test", "fastnn.recording", "fastnn.saving", "fastnn.training",
    ),
    ("fastnn.sklearn",),
    ("fastnn.bench", "fastnn.commands", "fastnn.cli", "fastnn.__main__", "fastnn"),
)  # fmt: skip
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
#: Imported inside the functions that need them, so that `import fastnn` does not.
WHEN_USED = {"safetensors", "tqdm", "numba", "numba_cuda", "matplotlib", "tensorboardX"}
#: Imported at once by what is nothing without them, and that `import fastnn` leaves alone.
AT_ONCE = {"fastnn.sklearn": {"sklearn", "scipy"}}


def level(module: str) -> int:
    if module in ("fastnn", "fastnn.__version__"):
        return LEVELS["fastnn"] if module == "fastnn" else 0
    name = ".".join(module.split(".")[: 1 if module.startswith("fastnn_ext") else 2])
    assert name in LEVELS, f"{module} has no layer: give it one in LAYERS"
    return LEVELS[name]


def modules() -> dict[str, ast.Module]:
    """Syntax trees of all our modules but the front, by name."""
    found = {}
    for folder in (ROOT, Path(fastnn_ext.__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    del found["fastnn"]
    return found


MODULES = modules()


def imports(tree: ast.AST, everywhere: bool = True) -> Iterator[str]:
    """Names of imported modules, `from package import module` as both; not those for type checkers alone.

    With ``everywhere=False`` only those that importing the module itself imports.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if not everywhere and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node, everywhere)


def ours(name: str) -> bool:
    return name.split(".")[0] in ("fastnn", "fastnn_ext")


@pytest.mark.parametrize("name", MODULES)
def test_downwards(name):
    """The one exception: a tensor's operators are ops, which are written in terms of tensors (one layer)."""
    for imported in imports(MODULES[name]):
        if ours(imported):
            assert level(imported) <= level(name), f"{name} imports {imported}, which is above it"


def test_kernels_import_no_one_who_calls_them():
    for name, tree in MODULES.items():
        if name.startswith("fastnn.kernels."):
            package = ".".join(name.split(".")[:3])
            for imported in filter(ours, imports(tree)):
                assert imported.startswith((package, "fastnn.table")), f"{name} imports {imported}"
        elif name.startswith("fastnn_ext"):
            assert all(i.startswith("fastnn_ext") for i in filter(ours, imports(tree))), name


def test_backends_never_import_each_other():
    names = {n for n in MODULES if n.startswith("fastnn.backends.")}
    kinds = {"reference", "cython_cpu", "numba_cpu", "numba_cuda"}
    for name in names:
        if name.split(".")[2] in kinds:
            for imported in imports(MODULES[name]):
                other = imported.split(".")[2] if imported.startswith("fastnn.backends.") else None
                assert other not in kinds - {name.split(".")[2]}, f"{name} imports {imported}"


def test_layers_and_models_name_no_backend():
    above = tuple(f"fastnn.{name}" for name in ("layers", "losses", "optimizers", "metrics", "initializers"))
    for name, tree in MODULES.items():
        if name.startswith(above):
            for imported in imports(tree):
                below = ("fastnn.backends.", "fastnn.kernels", "fastnn_ext")
                assert not imported.startswith(below), f"{name}: {imported}"


def test_one_shim_imports_numba_cuda():
    found = {
        name for name, tree in MODULES.items() for i in imports(tree) if i.startswith(("numba.cuda", "numba_cuda"))
    }
    assert len(found) <= 1, f"numba.cuda is imported in {sorted(found)}"


def test_numba_is_imported_by_its_backends_only():
    allowed = ("fastnn.kernels.numba_", "fastnn.backends.numba_")
    for name, tree in MODULES.items():
        if any(i.split(".")[0] in ("numba", "numba_cuda", "llvmlite") for i in imports(tree)):
            assert name.startswith(allowed), f"{name} imports Numba"


def test_heavy_packages_are_imported_when_used():
    for name, tree in MODULES.items():
        if name.startswith(("fastnn.kernels.", "fastnn.bench.peers.")):
            continue
        allowed = {"fastnn", "fastnn_ext", "numpy"} | AT_ONCE.get(".".join(name.split(".")[:2]), set())
        tops = {i.split(".")[0] for i in imports(tree, everywhere=False)}
        foreign = tops - set(sys.stdlib_module_names) - allowed
        assert not foreign, f"{name} imports {foreign} at once"
        everywhere = {i.split(".")[0] for i in imports(tree)} - set(sys.stdlib_module_names)
        assert everywhere <= allowed | WHEN_USED, f"{name} imports {everywhere}"


def test_nothing_imports_tests_or_benchmarks():
    for name, tree in MODULES.items():
        assert not {i.split(".")[0] for i in imports(tree)} & {"tests", "asv_benchmarks", "conftest"}, name
