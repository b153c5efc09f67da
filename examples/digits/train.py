"""Train the demo model: a small convolutional network that reads handwritten digits.

In: scikit-learn's handwritten digits (1,797 images of 8 x 8, 0 to 16 grey levels; Alpaydin and Kaynak, UCI). Out: next
to this file, `digits.onnx` (opset 21, 51 kB) and `held_out.npz` (the images and labels that training never saw, which
is what `demo.py` measures accuracy on). The same seeds give the same split and, on the same machine and torch version,
the same weights.

    pip install 'penstock[bench]'
    python examples/digits/train.py

The network is written to ONNX node by node rather than exported, so that every node has the name a reader expects to
find again in the compiler's dumps.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20
HELD_OUT_FRACTION = 0.2
SHIFTED_FRACTION = 0.3  # best of 0, 0.3, 0.5 and 1 by cross-validation within the training images
CHANNELS = (24, 48)
OPSET = 21
IR_VERSION = 10
GREY_LEVELS = 16.0


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, held-out images (both N x 1 x 8 x 8 f32, grey levels 0..16) and their labels (N, i64)."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype(np.float32)
    return tuple(
        train_test_split(images, labels, test_size=HELD_OUT_FRACTION, random_state=SEED, stratify=labels)
    )  # train images, held-out images, train labels, held-out labels


def network() -> nn.Sequential:
    """Convolution, ReLU and pooling twice, then one fully connected layer; input already scaled to 0..1."""
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * 4, 10),
    )


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`images`, SHIFTED_FRACTION of them moved by at most one pixel in each direction: the only augmentation."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    corners = torch.randint(0, 3, (len(images), 2), generator=generator)
    corners[torch.rand(len(images), generator=generator) >= SHIFTED_FRACTION] = 1
    return torch.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, corners.tolist(), strict=True)])


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> nn.Sequential:
    """Fit the network with AdamW and a cosine learning rate."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    model = network()
    x = torch.from_numpy(images) / GREY_LEVELS
    y = torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x), generator=generator).split(64):
            loss = nn.functional.cross_entropy(model(shifted(x[batch], generator)), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {total / len(x):.4f}")
    return model


def to_onnx(model: nn.Sequential) -> onnx.ModelProto:
    """The trained network as an ONNX model: `image` (1 x 1 x 8 x 8, grey levels) to `probabilities` (1 x 10)."""
    parameters = {name: value.detach().numpy() for name, value in model.named_parameters()}
    initializers = {
        "grey_scale": np.float32(1 / GREY_LEVELS),
        "conv1.weight": parameters["0.weight"],
        "conv1.bias": parameters["0.bias"],
        "conv2.weight": parameters["3.weight"],
        "conv2.bias": parameters["3.bias"],
        "classifier.weight": parameters["7.weight"],
        "classifier.bias": parameters["7.bias"],
    }

    def node(op: str, name: str, inputs: list[str], **attributes: object) -> onnx.NodeProto:
        output = name if name == "probabilities" else f"{name}.out"
        return helper.make_node(op, inputs, [output], name=name, **attributes)

    convolution = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pooling = {"kernel_shape": [2, 2], "strides": [2, 2]}
    graph = helper.make_graph(
        [
            node("Mul", "normalize", ["image", "grey_scale"]),
            node("Conv", "conv1", ["normalize.out", "conv1.weight", "conv1.bias"], **convolution),
            node("Relu", "relu1", ["conv1.out"]),
            node("MaxPool", "pool1", ["relu1.out"], **pooling),
            node("Conv", "conv2", ["pool1.out", "conv2.weight", "conv2.bias"], **convolution),
            node("Relu", "relu2", ["conv2.out"]),
            node("MaxPool", "pool2", ["relu2.out"], **pooling),
            node("Flatten", "flatten", ["pool2.out"], axis=1),
            node("Gemm", "classifier", ["flatten.out", "classifier.weight", "classifier.bias"], transB=1),
            node("Softmax", "probabilities", ["classifier.out"], axis=1),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    result = helper.make_model(
        graph,
        producer_name="penstock examples/digits/train.py",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(result, full_check=True)
    return result


def main() -> None:
    """Train, report accuracy, write both files."""
    parser = argparse.ArgumentParser(description="Train the digits model and write digits.onnx and held_out.npz.")
    parser.add_argument("--output-dir", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=80)
    options = parser.parse_args()

    train_images, held_out_images, train_labels, held_out_labels = split()
    model = train(train_images, train_labels, options.epochs).eval()
    with torch.no_grad():
        for title, images, labels in [
            ("training", train_images, train_labels),
            ("held out", held_out_images, held_out_labels),
        ]:
            right = int((model(torch.from_numpy(images) / GREY_LEVELS).argmax(1).numpy() == labels).sum())
            print(f"{title}: {right} of {len(labels)} right ({right / len(labels):.2%})")

    onnx.save(to_onnx(model), options.output_dir / "digits.onnx")
    np.savez_compressed(
        options.output_dir / "held_out.npz",
        images=held_out_images.astype(np.uint8),
        labels=held_out_labels.astype(np.uint8),
    )


if __name__ == "__main__":
    main()
