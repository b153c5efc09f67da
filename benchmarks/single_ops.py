"""Single-operator ONNX models for the micro benchmarks: matrix products, convolutions, normalisations, element-wise.

Out: `Kernel` records: a model with constant weights, sample inputs, and the work one call does. The shapes are those of
the layers that dominate the benchmark models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
OPSET = 20


@dataclass(frozen=True)
class Kernel:
    """`flops` counts two per multiply-add and is 0 for kernels bound by memory; `bytes` is inputs, weights, outputs."""

    name: str
    model: ModelProto
    inputs: Mapping[str, Any]
    flops: int
    bytes: int

    @property
    def target(self) -> float | None:
        """The part of the multiply-add peak we mean to reach; None where memory is the limit, or nothing is set."""
        return TARGETS.get(self.name)


TARGETS = {f"matmul {size}x{size}x{size}": 0.85 if size == 2048 else 0.90 for size in (256, 512, 1024, 2048)}

RESNET50_LAYERS = (
    *((64, 64, 56, 3, 1), (128, 128, 56, 3, 2), (128, 128, 28, 3, 1), (256, 256, 28, 3, 2), (256, 256, 14, 3, 1)),
    *((512, 512, 14, 3, 2), (512, 512, 7, 3, 1), (64, 64, 56, 1, 1), (64, 256, 56, 1, 1), (256, 64, 56, 1, 1)),
    *((256, 128, 56, 1, 1), (128, 512, 28, 1, 1), (512, 128, 28, 1, 1), (256, 512, 56, 1, 2), (512, 256, 28, 1, 1)),
    *((256, 1024, 14, 1, 1), (1024, 256, 14, 1, 1), (512, 1024, 28, 1, 2), (1024, 512, 14, 1, 1)),
    *((512, 2048, 7, 1, 1), (2048, 512, 7, 1, 1), (1024, 2048, 14, 1, 2)),
)
"""Every 3x3 and 1x1 convolution of ResNet-50 once: channels in and out, input size, kernel, stride."""


def convolution_name(kind: str, c: int, o: int, size: int, kernel: int, stride: int) -> str:
    """As it stands in tables: channels, sizes, and the stride where it is not 1."""
    return f"{kind} {c}->{o} {size}x{size} {kernel}x{kernel}" + (f" s{stride}" if stride > 1 else "")


TARGETS |= {f"{convolution_name('conv', *layer)}, channels last": 0.90 for layer in RESNET50_LAYERS}


def all_kernels() -> Iterator[Kernel]:
    """Every micro benchmark."""
    for size in (128, 256, 512, 1024, 2048):
        yield matmul(size, size, size)
    for m in (1, 4, 8, 16, 32, 128):
        yield matmul(m, 3072, 768)
    yield matmul(1, 768, 3072)
    yield matmul(128, 768, 768)
    yield matmul(128, 768, 3072)
    yield batched_matmul(12, 128, 128, 64)
    for layer in ((3, 64, 224, 7, 2), *RESNET50_LAYERS):
        yield convolution(*layer)
    for layer in RESNET50_LAYERS:
        yield convolution(*layer, channels_last=True)
    for channels, size, stride in ((96, 112, 2), (144, 56, 1), (384, 14, 1)):
        yield convolution(channels, channels, size, 3, stride, groups=channels)
    yield row_operator("Softmax", (12, 128, 128), axis=-1)
    yield row_operator("LayerNormalization", (128, 768), axis=-1, weights=2)
    yield row_operator("Gelu", (128, 3072))
    yield row_operator("Tanh", (128, 3072))
    yield row_operator("GlobalAveragePool", (1, 2048, 7, 7))
    yield row_operator("MaxPool", (1, 64, 112, 112), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield row_operator("Transpose", (128, 12, 64), perm=[1, 0, 2])


def random(*shape: int, seed: int = 0) -> Array:
    """Standard normal f32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matmul(m: int, n: int, k: int) -> Kernel:
    """[m, k] times a constant [k, n]."""
    weight = random(k, n, seed=1) / np.float32(k**0.5)
    return _kernel(f"matmul {m}x{n}x{k}", "MatMul", [random(m, k)], [weight], 2 * m * n * k)


def batched_matmul(batch: int, m: int, n: int, k: int) -> Kernel:
    """[batch, m, k] times [batch, k, n], both given at run time."""
    inputs = [random(batch, m, k), random(batch, k, n, seed=1)]
    return _kernel(f"matmul {batch}x{m}x{n}x{k} (no weight)", "MatMul", inputs, [], 2 * batch * m * n * k)


def convolution(
    c: int, o: int, size: int, kernel: int, stride: int, groups: int = 1, channels_last: bool = False
) -> Kernel:
    """A square convolution of [1, c, size, size] with "same" padding.

    `channels_last`: of [1, size, size, c] instead, with transposes around it, as the layer stands inside a network for
    an engine that keeps channels last; what brings images into that order and back is then not counted.
    """
    weight = random(o, c // groups, kernel, kernel, seed=1) / np.float32((c // groups * kernel * kernel) ** 0.5)
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    flops = 2 * o * out * out * (c // groups) * kernel * kernel
    name = convolution_name("depthwise" if groups > 1 else "conv", c, o, size, kernel, stride)
    attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "group": groups}
    if not channels_last:
        return _kernel(name, "Conv", [random(1, c, size, size)], [weight], flops, **attributes)
    return _kernel(f"{name}, channels last", "Conv", [random(1, size, size, c)], [weight], flops, True, **attributes)


def row_operator(operator: str, shape: tuple[int, ...], weights: int = 0, **attributes: Any) -> Kernel:
    """An operator bound by memory; `weights` vectors of the last dimension follow the input."""
    vectors = [random(shape[-1], seed=1 + index) for index in range(weights)]
    return _kernel(f"{operator} {'x'.join(map(str, shape))}", operator, [random(*shape)], vectors, 0, **attributes)


def _kernel(
    name: str,
    operator: str,
    inputs: list[Array],
    weights: list[Array],
    flops: int,
    channels_last: bool = False,
    **attributes: Any,
) -> Kernel:
    """A model of one node: inputs x0, x1, ..., then weights, output y; `channels_last` puts transposes around it."""
    import onnx

    names = [f"x{index}" for index in range(len(inputs))]
    constants = [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    given_names = [*names, *(tensor.name for tensor in constants)]
    nodes = [helper.make_node(operator, given_names, ["y"], name=operator.lower())]
    nodes[0].attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    if channels_last:
        nodes[0].input[0], nodes[0].output[0] = "first", "last"
        nodes.insert(0, helper.make_node("Transpose", ["x0"], ["first"], name="channels_first", perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["last"], ["y"], name="channels_last", perm=[0, 2, 3, 1]))
    given = [
        helper.make_tensor_value_info(label, TensorProto.FLOAT, array.shape)
        for label, array in zip(names, inputs, strict=True)
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, operator.lower(), given, [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    shape = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    size = int(np.prod(shape)) * 4 + sum(array.nbytes for array in (*inputs, *weights))
    return Kernel(name, model, dict(zip(names, inputs, strict=True)), flops, size)
