"""ONNX Runtime: inference alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


class OnnxRuntime:
    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def inference(self, weights: Sequence[np.ndarray], x: np.ndarray) -> Callable[[], Any]:
        """A graph of Gemm and Relu nodes."""
        nodes, name = [], "x"
        for i in range(0, len(weights), 2):
            last = i == len(weights) - 2
            nodes.append(helper.make_node("Gemm", [name, f"p{i}", f"p{i + 1}"], ["y" if last else f"h{i}"]))
            if not last:
                name = f"r{i}"
                nodes.append(helper.make_node("Relu", [f"h{i}"], [name]))
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (len(x), weights[-1].size))],
            [numpy_helper.from_array(w, f"p{i}") for i, w in enumerate(weights)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(["y"], {"x": x})[0]


def competitors(threads: int) -> list[Any]:
    return [OnnxRuntime(threads)]
