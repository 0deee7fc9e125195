"""The command ``fastnn bench``."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnn import backends
from fastnn.bench import device, peers, report
from fastnn.bench.cases import GROUPS, fit
from fastnn.bench.peers.ours import Fastnn, OneThread
from fastnn.bench.timing import copy_rate, fma_peak, update_rate
from fastnn.checks import DataError
from fastnn.config import config_report, print_aligned


def bench(args: Namespace, machine: dict[str, object], count: int) -> None:
    """Measure the groups asked for on the CPU backends, or on the device, beside peers where asked for."""
    facts = config_report()
    machine |= {"CPU": facts["cpu"], "fastnn": facts["version"], "Python": facts["python"]}
    names = [args.backend] if args.backend else [b for b in ("cython", "numba") if backends.missing(b) is None]
    if hasattr(os, "sched_setaffinity"):  # XLA took a fifth more CPU time than one thread has, whatever its flags said
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    on_device = "cuda" in names
    if on_device:
        machine |= device.description()
    competitors = _peers(args.against, count, machine, on_device)
    if args.chart and not competitors:
        raise DataError("--chart draws ratios: it needs --against and one of those libraries")
    if not on_device:
        competitors.append(OneThread(names[0]))
    groups, chosen = device.GROUPS if on_device else GROUPS, args.groups or ("training", "inference")
    for group in chosen:
        if group not in groups:
            place = "on the CPU" if on_device else "with --backend cuda"
            raise DataError(f"group {group}: it is measured {place} only")
    lines = {
        f"{case.kind} {case.label} {case.dtype}": case
        for group in chosen
        for case in (fit(args.images, args.labels) if group == "fit" else groups[group]())
    }
    cases = [case for line, case in lines.items() if args.only in line]
    if not cases:
        others = f" and {len(lines) - 9} more" if len(lines) > 9 else ""
        raise DataError(f"--only {args.only!r}: in no case's line; the cases: {', '.join(list(lines)[:9])}{others}")
    floors = device.floors() if on_device else _floors(count)
    for dtype in dict.fromkeys(case.dtype for case in cases if case.floor == "fma" and "fma" in floors):
        machine[f"FMA peak, {dtype}"] = f"{floors['fma'](dtype) / 1e9:.1f} GFLOP/s"
    for floor in ("copy", "update"):
        if any(case.floor == floor for case in cases):
            machine[f"{floor} rate, read and written"] = f"{floors[floor]('float32') / 1e9:.1f} GB/s"
    print_aligned(machine)
    taken = "Median of alternating rounds, by the device's events" if on_device else "Best of alternating rounds"
    print(f"{taken}; ratio: fastest peer's time / ours (< marks a loss);")
    print(f"floor: share of the FMA peak, or copy or update rate, that ours reaches.\n\n{report.HEADER}")
    results = []
    ours = [Fastnn(name) for name in names]
    for result in report.measure(cases, ours, competitors, count, args.seconds, floors):
        results.append(result)
        print(report.line(result), flush=True)
    print("", *report.summary(results), sep="\n")
    if args.json:
        report.write_json(Path(args.json), results, machine)
    if args.chart:
        report.write_chart(Path(args.chart), results, f"fastnn beside its peers, {machine['ISA']}, threads: {count}")


def _floors(count: int) -> report.Floors:
    """What threads of this CPU can do."""
    return {
        "fma": lambda dtype: fma_peak(dtype, count),
        "copy": lambda dtype: copy_rate(count),
        "update": lambda dtype: update_rate(count),
    }


def _peers(names: Sequence[str], count: int, machine: dict[str, object], on_device: bool) -> list[Any]:
    """The competitors asked for, as far as they are installed; their versions are noted."""
    found = []
    for name in names:
        try:
            found += peers.load(name, count, on_device)
        except ImportError as error:
            print(f"{name} is skipped: {error}", file=sys.stderr)
        else:
            machine[name] = sys.modules[name].__version__
    return found
