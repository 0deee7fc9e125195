"""fastnn beside the other libraries that are installed: geometric means over the cases of `fastnn bench`.

Each case's ratio is the fastest peer's time over ours, from rounds that take turns in one process. The single cases,
and the share of the machine's own limits that they reach, are what ``fastnn bench --against`` prints.
"""

from __future__ import annotations

from typing import Any

from fastnn.cli import BENCH_GROUPS, PEERS

from .common import CPU_BACKENDS, THREADS, require, use_threads


class Ratio:
    """Above 1, fastnn is faster than the fastest peer."""

    params = (BENCH_GROUPS, CPU_BACKENDS, THREADS)
    param_names = ("group", "backend", "threads")
    unit = "times as fast"
    timeout = 600

    def setup(self, group: str, backend: str, threads: int) -> None:
        require(backend)
        use_threads(threads)
        from fastnn.bench import cases, peers
        from fastnn.bench.peers.ours import OneThread

        # Of the products' four transposes the plain one.
        self.cases = [case for case in cases.GROUPS[group]() if case.kind != "matmul" or case.label.endswith(" nn")]
        self.peers: list[Any] = [OneThread(backend)]
        for name in PEERS:
            try:
                self.peers += peers.load(name, threads)
            except ImportError:
                continue  # not installed: the others count
        kinds = {case.kind for case in self.cases}
        if not any(getattr(peer, kind, None) for peer in self.peers for kind in kinds):
            raise NotImplementedError(f"no peer with {group} is installed")

    def track_ratio_geometric_mean(self, group: str, backend: str, threads: int) -> float:
        from fastnn.bench import report
        from fastnn.bench.peers.ours import Fastnn

        results = report.measure(self.cases, [Fastnn(backend)], self.peers, threads, seconds=0.02)
        return report.geometric_mean([r.ratio for r in results if r.ratio is not None])
