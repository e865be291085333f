"""Pickles of CIFAR that hold anything else than plain data and byte arrays."""

import pickle
import struct

import numpy as np
import pytest

from imaging.sources.classic import read_arrays


class State:
    """Gives an object of numpy a state of the test's choosing."""

    def __init__(self, made, state):
        self.made, self.state = made, state

    def __reduce__(self):
        return (*self.made, self.state)


def dtype_with(state):
    return State((np.dtype, ("u1", False, True)), state)


ARRAY = (np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"))


UNSAFE = (3, "|", None, ("x",), {"x": (np.dtype("u1"), 0)}, 8, 1, 63)  # references to count, at addresses of the file


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (State(ARRAY, (1, (1,), dtype_with(UNSAFE), False, b"A" * 8)), "it has an array of a special type"),
        (State(ARRAY, (1, (1,), np.dtype("O"), False, b"A" * 8)), "it has an array of O8, expected bytes (u1)"),
        (np.zeros(3), "it has an array of f8, expected bytes (u1)"),
        (State(ARRAY, (1, (2**62,), np.dtype("u1"), False, b"A")), "it has an array whose description is damaged"),
        (State(ARRAY, (1, (2**30,), np.dtype("u1"), False, b"A")), "it has an array whose description is damaged"),
        (State(ARRAY, (1, (-1, -1), np.dtype("u1"), False, b"A")), "it has an array whose description is damaged"),
        (State(ARRAY, 7), "it has an array whose description is damaged"),
        (State((np.ndarray, ((3,), "u1")), (1, (3,), np.dtype("u1"), False, b"abc")), "it makes an array in a way"),
    ],
)
def test_arrays_of_a_pickle_are_bytes_or_nothing(value, why):
    with pytest.raises(ValueError) as error:
        read_arrays(pickle.dumps({b"data": value}, 3))
    assert why in str(error.value)


def with_a_key_of_tuples(depth):
    """{key: 1} with a key whose hash would take 2^depth steps."""
    steps = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(depth))
    return b"\x80\x02(}q\xff" + b")q\0" + steps + b"1h\xffh%cK\x01s." % depth


ODD_PICKLES = [
    with_a_key_of_tuples(59),
    pickle.dumps({b"labels": {(1, 2): 3}}, 4),
    pickle.dumps({2**70: 3}, 4),
    pickle.dumps({frozenset([1]): 3}, 4),
    b"\x80\x02" + b"(" * 10**6 + b".",
    b"\x80\x02" + b"]q\0" + b"h\0a" * 10 + b".",
    b"\x80\x02" + b"]" * 10**6 + b".",
    b"\x80\x02.",
    b"\x80\x02}q\x00Ra.",
    b"\x80\x02K\x01(u.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    b"cos\nsystem\n(S'id'\ntR.",
    b"\x80\x02h\x05.",
    b"\x80\x02\x82\x01.",
    b"\x80\x02X\xff\xff\xff\xffabc.",
    b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
]


@pytest.mark.parametrize("number", range(len(ODD_PICKLES)))
def test_odd_pickles_are_refused_at_once(number):
    with pytest.raises(ValueError) as error:
        read_arrays(ODD_PICKLES[number])
    assert len(str(error.value)) < 300
