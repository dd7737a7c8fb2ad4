"""Real ONNX models of two nodes, written as protobuf by hand (field numbers from onnx.proto).

They answer the mean of each of the three colour channels, so that a red picture is of the first class.
"""

from collections.abc import Sequence

FLOAT, UINT8, FLOAT16, INT64 = 1, 2, 10, 7

Dimension = int | str


def mean_colour_model(
    *,
    channels_first: bool = True,
    side: Dimension = 32,
    number: int = FLOAT,
    softmax: bool = False,
    shape: Sequence[Dimension] | None = None,
) -> bytes:
    """A model of input [1, 3, side, side] or [1, side, side, 3] and output [1, 3]."""
    size: list[Dimension] = [1, 3, side, side] if channels_first else [1, side, side, 3]
    axes = [2, 3] if channels_first else [1, 2]
    last = "scores" if not softmax else "means"
    nodes = [
        _node("Cast", "picture", "numbers", _integer("to", FLOAT)),
        _node("ReduceMean", "numbers", last, _integers("axes", axes) + _integer("keepdims", 0)),
        *([_node("Softmax", "means", "scores", _integer("axis", 1))] if softmax else []),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"mean colour")
    graph += _field(11, _value("picture", number, shape or size)) + _field(
        12, _value("scores", FLOAT, [1, 3])
    )
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _node(kind: str, source: str, target: str, attributes: bytes) -> bytes:
    return _field(1, source.encode()) + _field(2, target.encode()) + _field(4, kind.encode()) + attributes


def _integer(name: str, value: int) -> bytes:
    return _field(5, _field(1, name.encode()) + _number(3, value) + _number(20, 2))


def _integers(name: str, values: Sequence[int]) -> bytes:
    return _field(
        5, _field(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, 7)
    )


def _value(name: str, number: int, shape: Sequence[Dimension]) -> bytes:
    dimensions = b"".join(_field(1, _dimension(size)) for size in shape)
    tensor = _number(1, number) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _dimension(size: Dimension) -> bytes:
    return _number(1, size) if isinstance(size, int) else _field(2, size.encode())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
