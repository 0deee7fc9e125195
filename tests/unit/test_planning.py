"""Random programs: live buffers share no memory, each lies as low as it can; a replay is what the ops give alone."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn as fn
from fastnn import ops
from fastnn.autodiff import gradients
from fastnn.program import Program


def build(x, steps) -> list:
    """Record (on tensors) or compute (on arrays) a random sequence of ops on (6, 6) matrices."""
    values = [x]
    for kind, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        one = {
            "add": lambda a=a, b=b: ops.add(a, b),
            "matmul": lambda a=a, b=b: ops.matmul(a, b),
            "tanh": lambda a=a: ops.tanh(a),
            "transpose": lambda a=a: ops.transpose(a),
            "row": lambda a=a: ops.broadcast_to(ops.sum(a, 1, keepdims=True), (6, 6)),
            "reshape": lambda a=a: a.reshape(4, 9).reshape(6, 6),
        }[kind]
        values.append(ops.tanh(one()))
    return values


KINDS = st.sampled_from(["add", "matmul", "tanh", "transpose", "row", "reshape"])
STEPS = st.lists(st.tuples(KINDS, st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12)
MATRIX = np.random.default_rng(1).normal(size=(6, 6))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, backwards=st.booleans())
def test_no_two_live_buffers_overlap(steps, backwards):
    program = Program("reference")
    values = build(program.input("x", (6, 6), float), steps)
    loss = fn.sum(values[-1])
    for t in [loss, *(gradients(loss, values[:1]) if backwards else [])]:
        program.output(t)
    program.prune()
    plan = program.plan()
    live: dict = {}
    for number, call in enumerate(program.calls):
        for t in call.arguments:
            if t is not None and t.buffer.kind == "temporary":
                live.setdefault(t.buffer, set()).add(number)
    assert set(plan.offsets) == set(live)
    for b, offset in plan.offsets.items():
        assert offset % 64 == 0 and offset + b.size * b.dtype.itemsize <= plan.size
    sizes = {b: -(-max(b.size * b.dtype.itemsize, 1) // 64) * 64 for b in live}
    together = {
        frozenset(pair)
        for pair in combinations(live, 2)
        if max(min(live[b]) for b in pair) <= min(max(live[b]) for b in pair)
    }

    def apart(a, offset, b) -> bool:
        """Whether a at this offset leaves b alone."""
        free = offset + sizes[a] <= plan.offsets[b] or plan.offsets[b] + sizes[b] <= offset
        return free or frozenset((a, b)) not in together

    for a, b in combinations(live, 2):
        assert apart(a, plan.offsets[a], b), f"{a.name} and {b.name}"
    largest_first = list(plan.offsets)
    assert largest_first == sorted(live, key=lambda b: -b.size * b.dtype.itemsize)
    for i, a in enumerate(largest_first):
        before = largest_first[:i]
        places = [0, *(plan.offsets[b] + sizes[b] for b in before)]
        lowest = min(p for p in places if all(apart(a, p, b) for b in before))
        assert plan.offsets[a] == lowest, f"{a.name} could lie at {lowest}"


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_random_programs(backend, steps):
    """Replay gives bitwise what the ops give one by one."""
    with fn.use_backend(backend):
        eager = build(MATRIX, steps)[-1]
        program = fn.trace(lambda x: build(x, steps)[-1], MATRIX)
        assert program(MATRIX)[0].tobytes() == eager.tobytes()
        assert program(MATRIX)[0].tobytes() == eager.tobytes()
