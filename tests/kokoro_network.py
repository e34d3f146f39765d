"""A tiny network with Kokoro's inputs, as bytes of ONNX.

Its sound has, for each symbol number n, `PER_SYMBOL` samples of n / 100 + style[0] + speed.
"""

from onnx import TensorProto, helper

PER_SYMBOL = 300


def tiny_network(symbols="tokens", style="style"):
    """The network, with these names of its inputs."""
    inputs = [
        helper.make_tensor_value_info(symbols, TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info(style, TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    output = helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["s"])
    constants = [
        helper.make_tensor("hundred", TensorProto.FLOAT, [1], [100.0]),
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("repeats", TensorProto.INT64, [2], [1, PER_SYMBOL]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
    ]
    nodes = [
        helper.make_node("Cast", [symbols], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "hundred"], ["small"]),
        helper.make_node("Gather", [style, "zero"], ["first"], axis=1),
        helper.make_node("Add", ["small", "first"], ["styled"]),
        helper.make_node("Add", ["styled", "speed"], ["sounds"]),
        helper.make_node("Reshape", ["sounds", "column"], ["columns"]),
        helper.make_node("Tile", ["columns", "repeats"], ["rows"]),
        helper.make_node("Reshape", ["rows", "flat"], ["audio"]),
    ]
    graph = helper.make_graph(nodes, "kokoro", inputs, [output], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
