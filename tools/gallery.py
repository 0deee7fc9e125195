"""Write docs/gallery.md: every example with its lesson, picture and code.

`--pictures` runs the examples and draws their pictures anew, which takes a minute or two; `--images` and `--labels`
are MNIST's IDX files, for the examples that are about MNIST.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def section(path: Path) -> str:
    """An example's part of the page; its docstring is title, lesson and sources, a paragraph each."""
    code = path.read_text(encoding="utf-8")
    title, lesson, sources = (ast.get_docstring(ast.parse(code)) or "").split("\n\n")
    return "\n".join([
        f"## {int(path.stem[:2])}. {title}", "", lesson, "",
        f"![{title}](pictures/{path.stem}.png)", "", sources, "",
        f"`python examples/{path.name}`", "", "```python", code.rstrip(), "```", "",
    ])  # fmt: skip


def page() -> str:
    """The page's text."""
    lines = [
        "# Gallery",
        "",
        "What introductory lectures on deep learning teach: each example is one script that prints its numbers and",
        'draws its picture. They need `pip install "fastnn[plot]"`. `--out FILE` says where the picture goes,',
        "`--quick` makes the example small, and those about MNIST take its IDX files as `--images FILE --labels FILE`.",
        "This page is made from the scripts by `python tools/gallery.py`.",
        "",
    ]
    return "\n".join([*lines, *map(section, EXAMPLES)])


def draw(images: str | None, labels: str | None) -> None:
    """Run all examples and keep their pictures."""
    import matplotlib
    from PIL import Image

    matplotlib.use("Agg")
    PICTURES.mkdir(exist_ok=True)
    for path in EXAMPLES:
        print(f"--- {path.name}")
        main = runpy.run_path(str(path))["main"]
        mnist = {"images": images, "labels": labels} if "images" in inspect.signature(main).parameters else {}
        picture = PICTURES / f"{path.stem}.png"
        main(out=picture, **mnist)
        Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--images", metavar="FILE")
    parser.add_argument("--labels", metavar="FILE")
    options = parser.parse_args()
    if options.pictures:
        draw(options.images, options.labels)
    PAGE.write_text(page(), encoding="utf-8")
