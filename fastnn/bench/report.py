"""Measuring groups of cases, and showing what came out: a table, JSON, a chart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fastnn.backends import to_host
from fastnn.bench.cases import Case
from fastnn.bench.timing import best_times, device_times
from fastnn.threadcount import threads

#: What the machine can do a second for each floor of a case that is known, given the dtype: FLOPs, or bytes.
Floors = Mapping[str, Callable[[str], float]]


@dataclass(frozen=True)
class Result:
    """One case on one backend.

    Attributes
    ----------
    kind, label, dtype : str
    backend : str
    threads : int
    seconds : float
    peers : dict of str to float
        Seconds of each peer that has the case.
    ratio : float or None
        The fastest peer's time over ours: above 1, fastnn is faster.
    share : float or None
        Of the floor: achieved FLOP/s over the measured FMA peak, or bytes a second over the measured rate of copies, or
        of updates in place.
    """

    kind: str
    label: str
    dtype: str
    backend: str
    threads: int
    seconds: float
    peers: dict[str, float]
    ratio: float | None
    share: float | None


def _flat(value: Any) -> np.ndarray:
    """A result as one vector."""
    if isinstance(value, (tuple, list)):
        return np.concatenate([_flat(v) for v in value])
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # which NumPy has not
        value = value.float()
    return np.ravel(np.asarray(to_host(value), dtype=np.float64))


def compare(case: Case, results: dict[str, Any]) -> None:
    """Raise ArithmeticError unless all results are equal to within the case's tolerance."""
    (first, expected), *others = ((name, _flat(value)) for name, value in results.items())
    for name, found in others:
        worst = np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)
        if not worst <= case.rtol:
            raise ArithmeticError(
                f"{case.kind} {case.label}: {name} and {first} differ by {worst:.1e}, more than {case.rtol:.0e}"
            )


def measure(
    cases: Iterable[Case],
    ours: Sequence[Any],
    peers: Sequence[Any],
    count: int,
    seconds: float,
    floors: Floors = MappingProxyType({}),
) -> Iterator[Result]:
    """Measure cases on our backends and all peers that have them, side by side.

    Without floors, results have no share of them.

    Competitors that compute on a device have a `clock`, which takes the time there.
    """
    clocks = {p.name: p.clock for p in (*ours, *peers) if hasattr(p, "clock")}
    with threads(count):
        for case in cases:
            data = case.make()
            methods = {p.name: getattr(p, case.kind, None) for p in (*ours, *peers)}
            made = {name: method(*data) for name, method in methods.items() if method is not None}
            thunks = {name: thunk for name, thunk in made.items() if thunk is not None}
            compare(case, {name: thunk() for name, thunk in thunks.items()})
            times = device_times(thunks, clocks, seconds) if clocks else best_times(thunks, seconds)
            for competitor in ours:
                if competitor.name not in times:
                    continue
                own = times[competitor.name]
                theirs = {p.name: times[p.name] for p in peers if p.name in times}
                ratio = min(theirs.values()) / own if theirs else None
                share = _share(case, own, floors)
                yield Result(case.kind, case.label, case.dtype, competitor.name, count, own, theirs, ratio, share)


def _share(case: Case, seconds: float, floors: Floors) -> float | None:
    if case.floor not in floors:
        return None
    work = case.flops if case.floor == "fma" else case.bytes
    return work / seconds / floors[case.floor](case.dtype)


def geometric_mean(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def line(result: Result) -> str:
    """A result in one line; a case that fastnn loses is marked."""
    peers = "  ".join(f"{name} {as_time(t)}" for name, t in result.peers.items())
    ratio = "" if result.ratio is None else f"{result.ratio:6.2f}{' <' if result.ratio < 1 else '  '}"
    share = "" if result.share is None else f"{result.share:5.0%}"
    dtype = "" if result.dtype == "float32" else f" {result.dtype}"
    name = f"{result.kind} {result.label}{dtype}"
    return f"{name:<52}{result.backend:<10}{as_time(result.seconds):>10} {ratio:>8} {share:>6}   {peers}"


HEADER = f"{'case':<52}{'backend':<10}{'time':>10} {'ratio':>8} {'floor':>6}   peers"


def as_time(seconds: float) -> str:
    """A time with three digits and its unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def summary(results: Sequence[Result]) -> list[str]:
    """Geometric mean and smallest ratio of each kind on each backend."""
    lines = []
    for kind, dtype, backend in dict.fromkeys((r.kind, r.dtype, r.backend) for r in results):
        chosen = [r for r in results if (r.kind, r.dtype, r.backend) == (kind, dtype, backend) and r.ratio is not None]
        if chosen:
            ratios = [r.ratio for r in chosen if r.ratio is not None]
            worst = min(chosen, key=lambda r: r.ratio or 0)
            lost = sum(ratio < 1 for ratio in ratios)
            lines.append(
                f"{kind} {dtype} on {backend}: geometric mean {geometric_mean(ratios):.2f} of {len(ratios)} cases, "
                f"{lost} lost, worst {min(ratios):.2f} ({worst.label})"
            )
    return lines


def write_json(path: Path, results: Sequence[Result], machine: dict[str, object]) -> None:
    """All results and the machine they are of."""
    path.write_text(json.dumps({"machine": machine, "results": [asdict(r) for r in results]}, indent=1) + "\n")


def write_chart(path: Path, results: Sequence[Result], title: str) -> None:
    """A bar for each case, on a logarithmic axis, won and lost in different colours."""
    from matplotlib.figure import Figure

    shown = [r for r in results if r.ratio is not None]
    figure = Figure(figsize=(9, 1.2 + 0.2 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    ratios = [r.ratio or 1.0 for r in shown]
    colours = ["#0072b2" if ratio >= 1 else "#d55e00" for ratio in ratios]
    places = range(len(shown))
    axes.barh(places, [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.7)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, [f"{r.kind} {r.label}, {r.backend}" for r in shown], fontsize=7)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("fastest peer's time / fastnn's (right of 1: fastnn is faster)")
    ticks = [2.0**e for e in range(-4, 8) if min(ratios) / 1.5 < 2.0**e < max(ratios) * 1.5]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=130)
