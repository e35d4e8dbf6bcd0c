"""Networks to and from ONNX files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchanged import SHAPE, built_in, close, drawn, every_layer, images, network_of, of_layers, rounds, same_law

from npsnn import models
from npsnn.classifier import Classifier
from npsnn.interop import formats, onnx
from npsnn.layers import (
    FeatureNoise,
    Flatten,
    NoisyConv2d,
    NoisyLinear,
    PreactivationNoise,
    ReLU,
    Residual,
    Sequential,
)
from npsnn.layers.base import layer
from npsnn.layers.params import flatten
from npsnn.runs import provenance

ox = pytest.importorskip("onnx")
Nodes = list[tuple[Any, ...]]


class Session:
    """A file as onnxruntime runs it, on one thread."""

    def __init__(self, path: Path) -> None:
        runtime = pytest.importorskip("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = 1
        self.session = runtime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.session.run(None, {"images": x})[0]
        return found


def session(network: Classifier, folder: Path, noise: bool = False) -> Session:
    onnx.save(network, folder / "net.onnx", noise)
    return Session(folder / "net.onnx")


@pytest.mark.parametrize("name", models.MODELS)
def test_a_built_in_network_answers_alike_and_comes_back(tmp_path: Path, name: str) -> None:
    network, x, logits = built_in(name)
    found = session(network, tmp_path)(x)
    close(found, logits)
    if "resnet" not in name:
        assert np.abs(found - logits).max() < 1e-5
    back = onnx.load(tmp_path / "net.onnx")
    assert np.array_equal(back.predict(x), logits)
    plain = [type(part) for _, part in models.without_noise(network.model).network.layers]
    assert [type(part) for _, part in back.model.network.layers] == plain
    assert back.model.network.layers[-1][1] == network.model.network.layers[-1][1]  # joint


@pytest.mark.parametrize("name", models.MODELS)
def test_what_a_built_in_network_answers_otherwise_is_rounding(tmp_path: Path, name: str) -> None:
    """In double precision logits agree to 1e-9 of the largest, and in single precision both programs round alike.

    An attribute is of single precision: the epsilon of batch normalisation differs by 3e-13.
    """
    network, x, _ = built_in(name)
    rounds(session(network, tmp_path)(x), network, x)
    found = ox.load(tmp_path / "net.onnx")
    for tensor in found.graph.initializer:
        tensor.CopyFrom(ox.numpy_helper.from_array(ox.numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*found.graph.input, *found.graph.output):
        value.type.tensor_type.elem_type = ox.TensorProto.DOUBLE
    reference = pytest.importorskip("onnx.reference").ReferenceEvaluator(found)
    (answers,) = reference.run(None, {"images": x.astype(np.float64)})
    assert answers.dtype == np.float64
    close(answers, network.astype(np.float64).predict(x.astype(np.float64)), 1e-9)


def test_the_names_of_layers_are_the_usual_ones(tmp_path: Path) -> None:
    network = built_in("lenet5")[0]
    onnx.save(network, tmp_path / "a net.onnx")
    back = onnx.load(tmp_path / "a net.onnx")
    assert back.model.name == "a-net" and back.model.network == models.without_noise(network.model).network
    assert all(np.array_equal(p, flatten(network.params)[k]) for k, p in flatten(back.params).items())


def test_every_layer_answers_alike_and_comes_back(tmp_path: Path) -> None:
    network, x = network_of(every_layer()), images()
    close(session(network, tmp_path)(x), network.predict(x))
    back = onnx.load(tmp_path / "net.onnx")
    close(back.predict(x), network.predict(x), 1e-6)
    inner = dict(back.model.network.layers)["block1"]
    assert isinstance(inner, Residual) and not inner.shortcut.layers
    assert isinstance(dict(inner.body.layers)["block1"], Residual)


def test_double_precision_is_written_in_single(tmp_path: Path) -> None:
    network = network_of(of_layers(), np.float64)
    close(session(network, tmp_path)(images()), network.predict(images().astype(np.float64)))


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        formats.save(network_of(every_layer()), tmp_path / name, "onnx", noise=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "noise",
    [
        PreactivationNoise(0.3, "channel"),
        PreactivationNoise(0.3, "unit", shared=True),
        NoisyConv2d(2, 3, spread="free"),
        FeatureNoise(0.5),
        FeatureNoise(0.5, "diagonal"),
        FeatureNoise(0.5, "scalar"),
        NoisyLinear(3),
    ],
    ids=repr,
)
def test_noise_has_the_same_law(tmp_path: Path, noise: Any) -> None:
    model = of_layers(("noise", noise)) if isinstance(noise, PreactivationNoise | NoisyConv2d) else of_layers()
    if isinstance(noise, FeatureNoise):
        model = models.with_feature_noise(model, 0.5, noise.covariance, bottleneck=4)
    if isinstance(noise, NoisyLinear):
        model = models.Model("matrix", Sequential((("flatten", Flatten()), ("last", noise))), SHAPE, 3)
    network = network_of(model)
    same_law(*drawn(network, session(network, tmp_path, noise=True)))


def test_noise_that_is_off_is_not_drawn(tmp_path: Path) -> None:
    network = network_of(every_layer()).with_sigma(0)
    close(session(network, tmp_path, noise=True)(images()), network.predict(images()))
    onnx.save(built_in("lenet5")[0], tmp_path / "drawn.onnx", noise=True)
    with pytest.raises(ValueError, match=r"drawn.onnx: node noise/RandomNormalLike .*: noise is exported, and not"):
        onnx.load(tmp_path / "drawn.onnx")


def test_what_has_no_nodes_is_refused_and_no_file_is_written(tmp_path: Path) -> None:
    @layer
    class MineOfOnnx(ReLU):
        """Computes perhaps something else."""

    mixing = network_of(models.with_mixing(of_layers(("relu", ReLU())), pool=2))
    cases = [
        (
            network_of(of_layers(("mine", MineOfOnnx()))),
            False,
            "mine has no counterpart in ONNX: MineOfOnnx is a layer",
        ),
        (mixing, True, "mixing mixes images, whose draws have no counterpart in ONNX"),
        (built_in("lenet5")[0].averaging(3), True, "noise must be off for a network that averages 3 draws"),
    ]
    for network, noise, said in cases:
        with pytest.raises(ValueError, match=said):
            onnx.save(network, tmp_path / "no.onnx", noise)
    assert not list(tmp_path.iterdir())
    close(session(mixing, tmp_path)(images()), mixing.predict(images()))


def made(
    nodes: Nodes,
    arrays: dict[str, Any],
    shape: tuple[Any, ...] = ("N", *SHAPE),
    output: str = "y",
    opsets: tuple[int, ...] = (17,),
) -> bytes:
    """A file of nodes (kind, inputs, outputs with commas between them, attributes)."""
    helper = ox.helper
    kind = ox.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node(n[0], n[1].split(" "), n[2].split(","), f"n{i}", **(n[3] if len(n) > 3 else {}))
            for i, n in enumerate(nodes)
        ],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(output, kind, None)],
        [ox.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset) for opset in opsets])
    content: bytes = model.SerializeToString()
    return content


RNG = np.random.default_rng(3)
W = RNG.standard_normal((3, 128)).astype(np.float32)
B = RNG.standard_normal(3).astype(np.float32)
F = RNG.standard_normal((2, 2, 3, 3)).astype(np.float32)
FLAT: tuple[Any, ...] = ("Flatten", "x", "f")
GEMM: tuple[Any, ...] = ("Gemm", "g w b", "y", {"transB": 1})
ARRAYS: dict[str, Any] = {"w": W, "b": B, "f3": F, "zero": np.zeros((1, 2, 1, 1), np.float32)}
ARRAYS |= {"column": B[:, None], "rows": np.ones((1, 2, 1), np.float32), "two": np.ones(2, np.float32)}
ARRAYS |= {"yes": np.array(True), "half": np.array(0.5, np.float32)}


def read(tmp_path: Path, nodes: Nodes, arrays: dict[str, Any] | None = None, **others: Any) -> Classifier:
    path = tmp_path / "made.onnx"
    path.write_bytes(made(nodes, ARRAYS | (arrays or {}), **others))
    return onnx.load(path)


@pytest.mark.parametrize(
    "nodes",
    [
        [FLAT, ("MatMul", "f wt", "m"), ("Add", "m b", "y")],
        [FLAT, ("MatMul", "f wt", "m"), ("Add", "b m", "y")],
        [("Reshape", "x size", "f"), ("Gemm", "f wt b", "y")],
        [("Identity", "x", "i"), ("Dropout", "i", "d"), ("Flatten", "d", "f"), ("Gemm", "f w b", "y", {"transB": 1})],
        [("Constant", "", "c", {"value_floats": B.tolist()}), FLAT, ("Gemm", "f wt c", "y")],
    ],
)
def test_other_ways_to_write_a_matrix(tmp_path: Path, nodes: Nodes) -> None:
    arrays = {"wt": W.T.copy(), "size": np.array([0, -1])}
    x = images()
    close(read(tmp_path, nodes, arrays).predict(x), x.reshape(3, -1) @ W.T + B)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("keep", [0, 1])
def test_the_mean_over_an_image_is_taken(tmp_path: Path, keep: int, opset: int) -> None:
    given: dict[str, Any] = {"axes": [-1, 2]} if opset == 17 else {}  # an input from opset 18 on
    mean = ("ReduceMean", "x" if given else "x axes", "m", {"keepdims": keep} | given)
    nodes: Nodes = [mean, *([("Flatten", "m", "g")] if keep else []), ("Gemm", "g u b" if keep else "m u b", "y")]
    arrays = {"axes": np.array([-1, 2]), "u": W[:, :2].T.copy()}
    network = read(tmp_path, nodes, arrays, opsets=(opset,))
    close(network.predict(images()), images().mean(axis=(2, 3)) @ W[:, :2].T + B)


def test_a_fixed_number_of_images_may_stand_in_a_reshape(tmp_path: Path) -> None:
    end = ("Gemm", "g w b", "y", {"transB": 1})
    for sizes in ([5, -1], [5, 128], [-1, 128], [0, -1], [1, 128]):
        assert read(tmp_path, [("Reshape", "x s", "g"), end], {"s": np.array(sizes)}).model.classes == 3
    for sizes in ([-1, -1], [5, 64], [-1, 2, 64], [128]):
        with pytest.raises(ValueError, match=r"must make vectors of 128 numbers of each image, got \["):
            read(tmp_path, [("Reshape", "x s", "g"), end], {"s": np.array(sizes)})


def test_normalisation_is_taken(tmp_path: Path) -> None:
    arrays = {"m": np.array([[[0.5]], [[0.25]]], np.float32), "s": np.array([[[2.0]], [[4.0]]], np.float32)}
    x = images()
    for kind, factor in (("Div", 1 / arrays["s"]), ("Mul", arrays["s"])):
        nodes: Nodes = [("Sub", "x m", "a"), (kind, "a s", "n"), ("Flatten", "n", "g"), GEMM]
        close(read(tmp_path, nodes, arrays).predict(x), ((x - arrays["m"]) * factor).reshape(3, -1) @ W.T + B)


def test_branches_of_one_value_are_a_residual(tmp_path: Path) -> None:
    conv = {"kernel_shape": [3, 3], "pads": [1] * 4}
    body: Nodes = [("Conv", "x f3", "c", conv), ("Relu", "c", "r")]
    end: Nodes = [("Flatten", "s", "g"), GEMM]
    both = read(tmp_path, [*body, ("Add", "r x", "s"), *end])
    turned = read(tmp_path, [*body, ("Add", "x r", "s"), *end])
    assert provenance.of_network(both.params) == provenance.of_network(turned.params)
    assert np.array_equal(both.predict(images()), turned.predict(images()))
    assert both.model == turned.model


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Conv", "x f3", "g", {"group": 2})], r"node n0 \(Conv\): group must be 1, got 2"),
        ([("Conv", "x f3", "g", {"pads": [1, 1, 0, 0]})], r"n0 \(Conv\): pads must be one number in all directions"),
        ([("Conv", "x f3", "g", {"auto_pad": "SAME_UPPER"})], "auto_pad must be NOTSET or VALID, got SAME_UPPER"),
        ([("Conv", "x f3", "g", {"dilations": [2, 2]})], "without dilations"),
        ([("Conv", "x x", "g")], "its filters must be a constant, got the value 'x'"),
        ([("Tanh", "x", "g")], r"node n0 \(Tanh\) has no counterpart in npsnn"),
        ([FLAT, ("Softmax", "f", "g")], "Softmax.* has no counterpart in npsnn: export a network that ends in logits"),
        ([("MaxPool", "x", "g", {"kernel_shape": [2, 3]})], "kernel_shape must be one number"),
        ([("MaxPool", "x", "g", {"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1})], "ceil_mode must be 0"),
        ([("AveragePool", "x", "g", {"kernel_shape": [3, 3]})], "strides must be the 3 of kernel_shape"),
        ([("Flatten", "x", "g", {"axis": 2})], "axis must be 1, got 2"),
        ([("Reshape", "x x", "g")], "must make vectors of 128 numbers of each image, got what is computed"),
        ([("Gemm", "x w b", "g", {"transB": 1})], r"its matrix of the shape \(3, 128\) must fit its input"),
        ([FLAT, ("Gemm", "f w b", "g", {"transB": 1, "alpha": 0.5})], "alpha must be 1.0, got 0.5"),
        (
            [FLAT, ("Gemm", "f w column", "g", {"transB": 1})],
            r"bias must be 3 numbers in a row, got the shape \(3, 1\)",
        ),
        ([("Conv", "x f3", "g", {"kernel_shape": [5, 5]})], "kernel_shape must be that of its filters, 3, got 5"),
        (
            [("Conv", "x f3", "g", {"pads": [1, 1]})],
            r"pads must be one number in all directions, 4 times, got \[1, 1\]",
        ),
        ([("Relu", "x", "g", {"alpha": 0.1})], r"n0 \(Relu\) must have attributes of opset 17 \(none\), got alpha"),
        ([("MaxPool", "x", "g")], "kernel_shape must be there, got none"),
        ([("MaxPool", "x", "g", {"kernel_shape": [2, 2], "strides": [0, 0], "ceil_mode": 1})], "strides must be >= 1"),
        ([("Dropout", "x half yes", "g")], r"n0 \(Dropout\): training_mode must be false, got true"),
        ([("Relu", "x", "r"), ("Dropout", "x half r", "g")], "training_mode must be false, got what is computed"),
        (
            [("BatchNormalization", "x two two two two", "g,mean,var", {"training_mode": 1})],
            "must have one output, got 3: those of training",
        ),
        ([("PRelu", "x rows", "g")], r"slope must be one number for each of 2 channels, got the shape \(1, 2, 1\)"),
        ([("Sub", "x zero", "g")], "no counterpart in npsnn, but for"),
        ([("Sub", "x zero", "a"), ("Div", "a zero", "g")], "standard deviations must be > 0"),
        ([("Relu", "x", "a"), ("Relu", "x", "c"), ("Relu", "x", "g")], "may have two branches, which Add joins, got 3"),
        ([("Relu", "x", "a"), ("Relu", "x", "g")], "leads to nothing"),
        ([("Relu", "x", "x")], "leads in a circle"),
        ([("Add", "x x", "g")], "must lead to the output"),
        ([("PRelu", "x b", "g")], "its slope must be one number for each of 2 channels"),
        ([("BatchNormalization", "x b b b b", "g")], "made: bn1.w must be"),
        ([("BatchNormalization", "x", "g")], "its scale must be a constant"),
        ([("ReduceMean", "x", "g", {"axes": [1, 2]})], "axes must be 2 and 3"),
        ([("Shape", "x", "g")], r"Shape.*: export it for a fixed number of images"),
        ([], "leads to nothing"),
    ],
)
def test_nodes_without_a_counterpart_are_named(tmp_path: Path, nodes: Nodes, said: str) -> None:
    end: Nodes = (
        [] if nodes and nodes[-1][0] == "Softmax" else [("Flatten", "g", "h"), ("Gemm", "h w b", "y", {"transB": 1})]
    )
    with pytest.raises(ValueError, match=said) as error:
        read(tmp_path, [*nodes, *end])
    assert str(error.value).startswith(f"{tmp_path / 'made.onnx'}: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arrays": {"w": np.full_like(W, np.nan)}}, "its matrix holds a NaN or an infinity"),
        ({"arrays": {"w": W.astype(np.int64)}}, "its matrix must hold floats, got int64"),
        ({"arrays": {"b": np.zeros(2, np.float32)}}, "its bias must be 3 numbers"),
        ({"shape": ("N", 2, "H", "W")}, r"must say the shape \(N, C, H, W\)"),
        ({"shape": ("N", 1 << 40, 8, 8)}, "its images must have from 1 to 4096 in each direction"),
        ({"shape": ("N", 128)}, r"must say the shape \(N, C, H, W\)"),
        ({"output": "g"}, r"must end in a vector of logits|classes >= 2"),
        ({"output": "nowhere"}, "leads to nothing"),
    ],
)
def test_a_graph_that_is_no_classifier_is_one_error(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(
            tmp_path,
            [("Relu", "x", "r"), ("Flatten", "r", "g"), GEMM] if "output" not in change else [("Relu", "x", "g")],
            **change,
        )


def test_a_shape_that_the_file_leaves_open_is_given(tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(made([("Flatten", "x", "g"), GEMM], ARRAYS, ("N", 2, "H", "W")))
    assert formats.load(path, shape=SHAPE).model.shape == SHAPE
    with pytest.raises(ValueError, match=r"its images have the shape \(2, None, None\), got \(3, 8, 8\)"):
        onnx.load(path, (3, 8, 8))


@pytest.mark.parametrize("opsets", [(6,), (999,), (), (17, 17)])
def test_an_opset_of_another_meaning_is_refused(tmp_path: Path, opsets: tuple[int, ...]) -> None:
    got = " and ".join(map(str, opsets)) or "none"
    with pytest.raises(ValueError, match=rf"made\.onnx: it must have nodes of one opset from 7 to \d+, got {got}$"):
        read(tmp_path, [("Flatten", "x", "g"), GEMM], opsets=opsets)


def test_batch_normalisation_of_old_opsets_is_for_each_channel(tmp_path: Path) -> None:
    nodes: Nodes = [("BatchNormalization", "x two two two two", "n", {"spatial": 1}), ("Flatten", "n", "g"), GEMM]
    expected = ((images() - 1) / np.sqrt(1 + 1e-5) + 1).reshape(3, -1) @ W.T + B
    close(read(tmp_path, nodes, opsets=(8,)).predict(images()), expected)
    nodes[0][3]["spatial"] = 0
    with pytest.raises(ValueError, match="spatial must be 1, got 0"):
        read(tmp_path, nodes, opsets=(8,))


@pytest.mark.parametrize("content", [b"", b"no protobuf", bytes(40), b"\x08\x08"])
def test_a_file_that_is_none_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"none\.onnx: it "):
        onnx.load(path)


def test_names_that_are_no_text_are_one_error(tmp_path: Path) -> None:
    content = made([("Flatten", "x", "g"), ("Tanh", "g", "odd-name")], ARRAYS, output="odd-name")
    (tmp_path / "odd.onnx").write_bytes(
        content.replace(b"odd-name", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe").replace(b"Tanh", b"Re\xff\xfe")
    )
    with pytest.raises(ValueError, match=r"odd\.onnx: "):
        onnx.load(tmp_path / "odd.onnx")


def test_arrays_in_a_file_beside_it_are_read_and_in_no_other(tmp_path: Path) -> None:
    path, apart = tmp_path / "apart.onnx", tmp_path / "apart.data"
    found = ox.load_model_from_string(made([("Flatten", "x", "g"), GEMM], ARRAYS))

    def stands(where: str, offset: int = 8, length: int = W.nbytes) -> None:
        tensor = found.graph.initializer[0]
        tensor.raw_data = b""
        ox.external_data_helper.set_external_data(tensor, where, offset, length)
        tensor.ClearField("raw_data")
        path.write_bytes(found.SerializeToString())

    stands("apart.data")
    with pytest.raises(ValueError, match=r"n1 \(Gemm\): the array w is in apart\.data: No such file"):
        onnx.load(path)
    apart.write_bytes(bytes(8) + W.tobytes())
    close(onnx.load(path).predict(images()), images().reshape(3, -1) @ W.T + B)
    stands("apart.data", offset=12)
    with pytest.raises(ValueError, match=r"the array w in apart\.data is damaged"):
        onnx.load(path)
    for where in ("/etc/hostname", "../apart.data", f"{tmp_path}/apart.data", ""):
        stands(where)
        with pytest.raises(ValueError, match="the array w must be in this file or in one beside it"):
            onnx.load(path)
