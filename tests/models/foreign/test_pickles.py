"""The reader of pickles against those who write them with intent: every refusal names what was asked for."""

import io
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from models import foreign
from models.stylegan2.foreign.records import makers
from system.pickles import is_pickle, read_pickle
from system.text import shown
from tests.models.foreign import pickled
from tests.models.foreign.networks import READERS, official, open_foreign
from tests.proofs.damage import damaged  # noqa: F401
from tests.proofs.mutation import text
from tests.proofs.watch import nothing_runs

NONE = "which is not allowed; no code of the file was run"


class Evil:
    """Calls something when it is read in the usual way."""

    def __init__(self, called: Callable[..., Any] = os.system, *arguments: Any) -> None:
        self.called, self.arguments = called, arguments or ("touch mark",)

    def __reduce__(self) -> Any:
        return self.called, self.arguments


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """Instructions that call something with some values."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def program(*parts: bytes) -> bytes:
    return b"\x80\3" + b"".join(parts) + b"."


def refusal(tmp_path: Path, data: bytes) -> str:
    """The sentence with which a file is refused, while nothing runs."""
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    os.chdir(tmp_path)  # where a command would leave its mark
    with pytest.raises(ValueError) as error, nothing_runs():
        open_foreign(path)
    assert sorted(tmp_path.iterdir()) == [path]
    return str(error.value).removeprefix(f"{path} is refused: ")


@pytest.fixture(autouse=True, scope="module")
def warm(tmp_path_factory):
    """What our own program imports on the way is imported before anyone watches."""
    path = pickled.write(tmp_path_factory.mktemp("warm") / "a.pkl", official())
    open_foreign(path)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_attack_is_one(tmp_path):
    """Read in the usual way, it leaves its mark."""
    pickle.loads(pickle.dumps(Evil()))
    assert Path("mark").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_command_in_place_of_a_network(tmp_path, protocol):
    assert refusal(tmp_path, pickle.dumps(Evil(), protocol)) == f"it asks for {os.name}.system, {NONE}"


def test_a_command_deep_within_a_network(tmp_path):
    value = official()
    value["D"]["b8.conv0"].state["padding"] = Evil()
    assert refusal(tmp_path, pickled.pickled(value)) == f"it asks for {os.name}.system, {NONE}"


def second(data: bytes) -> bytes:
    """A pickle that has another one where the numbers of a tensor are."""
    return program(call("torch.storage", "_load_from_bytes", b"B" + len(data).to_bytes(4, "little") + data))


def test_a_command_in_the_pickle_of_a_tensor(tmp_path):
    stream = io.BytesIO()
    torch.save(Evil(), stream, _use_new_zipfile_serialization=False)
    for data in (stream.getvalue(), pickle.dumps(Evil())):
        assert refusal(tmp_path, second(data)) == f"it asks for {os.name}.system, {NONE}"


@pytest.mark.parametrize(
    "name",
    ["builtins eval", "builtins getattr", "torch load", "dill._dill _create_code", "numpy load", "os system", "a b.c"],
)
def test_names_that_are_unknown(tmp_path, name):
    module, attribute = name.split()
    data = program(call(module, attribute, text("1 + 1")))
    assert refusal(tmp_path, data) == f"it asks for {module}.{attribute}, {NONE}"
    data = b"\x80\4" + text(module) + text(attribute) + b"\x93)R."
    assert refusal(tmp_path, data) == f"it asks for {module}.{attribute}, {NONE}"


def test_names_that_are_no_names(tmp_path):
    assert refusal(tmp_path, b"\x80\4K\5K\6\x93.") == "it is cut short or damaged (at instruction 4 of its pickle)"
    data = b"\x80\4" + text("os\n\x1b[2J" + 200 * "x") + text("system") + b"\x93."
    assert refusal(tmp_path, data) == f"it asks for os??[2J{90 * 'x'}..., {NONE}"


@pytest.mark.parametrize(
    "instruction, code",
    [
        ("PERSID", b"Pabc\n"),
        ("EXT1", b"\x82\1"),
        ("INST", b"(ios\nsystem\n"),
        ("OBJ", b"(cnumpy\ndtype\no"),
        ("NEWOBJ_EX", b"cnumpy\ndtype\n)}\x92"),
        ("DUP", b"N2"),
        ("LONG4", b"\x8b\4\0\0\0aaaa"),
        ("BYTEARRAY8", b"\x96" + bytes(8)),
        ("NEXT_BUFFER", b"\x97"),
    ],
)
def test_instructions_that_networks_do_not_have(tmp_path, instruction, code):
    assert refusal(tmp_path, program(code)) == f"its pickle has the instruction {instruction}, which is not supported"


def test_what_is_named_cannot_be_altered(tmp_path):
    """As `set.update = os.system` would be."""
    data = program(b"cbuiltins\nset\n", b"}", text("make"), b"K\1s", b"b")
    assert refusal(tmp_path, data) == "it is damaged (its pickle has a Name in place of another kind of value)"


@pytest.mark.parametrize(
    "code",
    [
        b"\x8e" + (2**62).to_bytes(8, "little") + b"abc",  # bytes, of that length
        b"\x8d" + (2**62).to_bytes(8, "little") + b"abc",  # text
        b"\x8a\xffabc",  # a number
        b"B\xff\xff\xff\xffabc",
        b"X\xff\xff\xff\xffabc",
    ],
)
def test_lengths_that_are_not_there(tmp_path, code):
    """Nothing of that length is allocated, and the end of the file is reached too early."""
    assert refusal(tmp_path, program(code)).startswith("it is cut short or damaged (at instruction 2")


def test_places_that_are_far_away_cost_nothing(tmp_path):
    data = program(b"]r\xff\xff\xff\xff", b"0j\xff\xff\xff\xff")
    assert refusal(tmp_path, data) == "it holds [], expected the networks G, D and G_ema"
    assert refusal(tmp_path, b"\x80\4\x95" + 8 * b"\xff" + b"N.") == (
        "it holds None, expected the networks G, D and G_ema"
    )


def test_depth_and_number(tmp_path):
    deep = "its pickle has more than 10,000 open values, the limit"
    assert refusal(tmp_path, program(b"]" * 20_000 + b"a" * 19_999)) == deep
    assert refusal(tmp_path, program(b"(" * 20_000)) == deep
    with pytest.raises(ValueError, match="its pickle has more than 1,000 instructions, the limit"):
        read_pickle(io.BytesIO(program(b"N0" * 1000)), {}, most=1000)


def test_something_that_contains_itself(tmp_path):
    data = program(b"}q\0", text("G_ema"), b"h\0s")
    assert refusal(tmp_path, data) == "it holds a dict, expected the networks G, D and G_ema"


@pytest.mark.parametrize("key", [2**61 - 1, -(2**31), 1.5, (1, 2)])
def test_keys_that_would_make_a_dict_slow(tmp_path, key):
    assert refusal(tmp_path, pickle.dumps({"G": {key: 1}}, 4)) == (
        f"its pickle uses {shown(key)} as a key, which is not supported"
    )
    assert "as a key" in refusal(tmp_path, pickle.dumps({"G": {key}}, 4))


def tensor(count: int, size: bytes, stride: bytes, claimed: int | None = None) -> bytes:
    """A pickle of a tensor of some numbers."""
    stream = io.BytesIO()
    torch.save(torch.zeros(count).storage(), stream, _use_new_zipfile_serialization=False)
    data = stream.getvalue()
    if claimed is not None:
        number, other = (pickle.dumps(value, 2)[2:-1] for value in (count, claimed))
        assert data.count(b"cpu" + b"q\3" + number) == 1
        data = data.replace(b"cpu" + b"q\3" + number, b"cpu" + b"q\3" + other)
    numbers = call("torch.storage", "_load_from_bytes", b"B" + len(data).to_bytes(4, "little") + data)
    return program(call("torch._utils", "_rebuild_tensor_v2", numbers, b"K\0", size, stride, b"\x89", b"N"))


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_gigantic_tensors(tmp_path):
    huge = number(2**40)
    assert refusal(tmp_path, tensor(300, huge + b"\x85", b"K\0\x85")) == (
        "it holds a Tensor, expected the networks G, D and G_ema"
    )
    assert refusal(tmp_path, tensor(300, huge + b"\x85", b"K\1\x85")) == (
        "it is damaged (a tensor of shape (1099511627776,) has only 300 numbers)"
    )
    assert refusal(tmp_path, tensor(300, huge + huge + b"\x86", huge + b"K\1\x86")) == (
        "it is damaged (a tensor of shape (1099511627776, 1099511627776) has only 300 numbers)"
    )
    assert refusal(tmp_path, tensor(300, number(2**70) + b"\x85", b"K\1\x85")) == (
        "it is damaged (a tensor has no numbers)"
    )
    assert refusal(tmp_path, tensor(300, b"K\5\x85", b"K\1\x85", claimed=2**50)) == (
        "it is damaged (a tensor claims 1,125,899,906,842,624 numbers, which are missing)"
    )


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_the_same_bytes_over_and_over(tmp_path):
    """Ten thousand tensors of one string of bytes would need more memory than there is."""
    sentence = "it uses some of its bytes many times"
    stream = io.BytesIO()
    torch.save(torch.zeros(10_000).storage(), stream, _use_new_zipfile_serialization=False)
    data = stream.getvalue()
    again = call("torch.storage", "_load_from_bytes", b"h\0") + b"0"
    once = b"B" + len(data).to_bytes(4, "little") + data + b"q\0"
    assert refusal(tmp_path, program(once, again * 10_000)) == sentence
    stream = io.BytesIO()
    torch.save(torch.zeros(1).storage(), stream, _use_new_zipfile_serialization=False)
    data, begun = stream.getvalue(), time.process_time()
    once = b"B" + len(data).to_bytes(4, "little") + data + b"q\0" + b"ctorch.storage\n_load_from_bytes\nq\1"
    assert refusal(tmp_path, program(once, b"h\1h\0\x85R0" * 150_000)) == sentence  # little of it, but often
    assert time.process_time() - begun < 5
    again = call("_codecs", "encode", b"h\0", text("latin1")) + b"0"
    assert refusal(tmp_path, program(text("x" * 100_000), b"q\0", again * 10_000)) == sentence


@pytest.mark.parametrize(
    "data, sentence",
    [
        *(
            (b"\x80\3" + code, f"it is cut short or damaged (at instruction {n} of its pickle)")
            for code, n in [
                (b".", 2),  # an empty stack
                (b"e.", 2),
                (b"h\1.", 2),  # a memo that is not written
                (b"K\1Q", 3),  # a persistent identifier
                (b"NNa.", 4),  # None is no list
                (b"}(Nu.", 5),  # a key without a value
                (b"X\1\0\0\0\xff.", 2),  # not UTF-8
                (b"ccollections\nOrderedDict\nK\1\x85R.", 5),  # wrong arguments
            ]
        ),
        (b"\x80\3}(Ne.", "it is cut short or damaged (at instruction 5 of its pickle)"),
        (b"\x80\3N(NNu.", "it is damaged (its pickle has None in place of another kind of value)"),
        (b"\x80\3cnumpy\nndarray\n)R.", "it is damaged (it calls a name that is only an argument)"),
        (b"\x80\3cnumpy\ndtype\nX\2\0\0\0O8\x85R.", "it is damaged (a type of numbers: 'O8')"),
        (b"\x80\3\x80\7N.", "unsupported pickle protocol: 7"),
    ],
)
def test_damaged_pickles(tmp_path, data, sentence):
    assert refusal(tmp_path, data) == sentence


def test_every_name_that_is_accepted_makes_plain_data():
    """None of them is a class or a function of a library, which a pickle could go on from."""
    for (module, name), make in makers(100).items():
        assert make.__module__ in ("models.stylegan2.foreign.records", "torch_utils.torchfile"), (module, name)


@pytest.mark.parametrize("data", [b"", b"\x80", b"GIF89a", b"{}", b"\x80\x09.", b"hello world", b"(hello)"])
def test_files_of_other_kinds_are_not_opened(tmp_path, data):
    (tmp_path / "a.pkl").write_bytes(data)
    assert foreign.open_foreign(tmp_path / "a.pkl", READERS) is None


def test_folders_and_missing_files_are_not_opened(tmp_path):
    assert foreign.open_foreign(tmp_path, READERS) is foreign.open_foreign(tmp_path / "missing.pkl", READERS) is None


@pytest.mark.parametrize("size", [640, 896, 1152, 1408])
def test_a_safetensors_is_no_pickle(size):
    """Its file begins with the length of its header: 640 is 0x80 0x02, the beginning of a pickle, and then zeros."""
    bare = len(safetensors.torch.save({"x": torch.zeros(1)}, {"": ""})) - 12  # without the length and the number
    whole = safetensors.torch.save({"x": torch.zeros(1)}, {"": "." * (size - bare)})
    assert whole[:1] == b"\x80" and not is_pickle(whole)
