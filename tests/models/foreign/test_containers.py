"""Options that official networks were made with, and containers that they are pickled in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.families import read_network
from tests.models.foreign import pickled
from tests.models.foreign.networks import open_foreign
from tests.models.foreign.test_tensorflow import official
from tests.reference.official import official_tensors


@pytest.mark.parametrize(
    "options",
    [
        {"resolution_w": 16, "min_h": 4, "res_log2": 4, "num_channels_in": 3, "num_classes": 0, "z_dim": 32},
        {"dropout_rate": 0.1, "lr_decay": 0.5, "use_fp16": True, "ema_kimg": 10, "freeze_d": 3, "cudnn_impl": "x"},
        {"blur_filter": [1, 3, 3, 1], "act": "lrelu", "demodulate": True, "noise": True, "fir_kernel": None},
        {"extra": "", "attention": [], "wings": 0.0, "eyes": False, "kwargs": {}, "train_kwargs": {"wings": 2}},
    ],
    ids=lambda options: " ".join(options),
)
def test_options_that_change_nothing(tmp_path, options):
    file = read_network(pickled.write(tmp_path / "a.pkl", official(**options)))
    assert file.parts == ["G_ema", "G", "D"]


@pytest.mark.parametrize(
    "options",
    [
        {"resolution_w": 23},
        {"resolution_w": True},
        {"wings": 16},
        {"attention_layers": 2},
        {"kwargs": {"wings": 16}},
    ],
    ids=str,
)
def test_options_that_may_change_the_picture_are_refused_by_name(tmp_path, options):
    path = pickled.write(tmp_path / "a.pkl", official(**options)[2])
    with pytest.raises(ValueError) as error:
        open_foreign(path)
    told = f"its network was made with the option {next(iter(options))!r}, which StyleGAN2 does not have"
    assert str(error.value) == f"{path} is refused: {told}"


@pytest.mark.parametrize("option, value, usual", [("act", "relu", "'lrelu'"), ("demodulate", False, True)])
def test_options_that_every_network_has_are_refused_with_the_usual_value(tmp_path, option, value, usual):
    path = pickled.write(tmp_path / "a.pkl", official(**{option: value})[2])
    with pytest.raises(ValueError) as error:
        open_foreign(path)
    assert str(error.value) == f"{path} is refused: its G_ema has the {option} {value!r}, expected {usual}"


CONTAINERS: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "tuple": (lambda G, D, Gs: (G, D, Gs), "G_ema G D"),
    "list": (lambda G, D, Gs: [G, D, Gs], "G_ema G D"),
    "another order": (lambda G, D, Gs: (D, G, Gs), "G_ema G D"),
    "with None": (lambda G, D, Gs: (None, D, Gs), "G_ema D"),
    "two": (lambda G, D, Gs: [D, Gs], "G_ema D"),
    "without Gs": (lambda G, D, Gs: (G, D, None), "G_ema D"),
    "one in a row": (lambda G, D, Gs: [Gs], "G_ema"),
    "alone": (lambda G, D, Gs: Gs, "G_ema"),
    "D alone": (lambda G, D, Gs: D, "D"),
    "dict": (lambda G, D, Gs: {"G": G, "D": D, "G_ema": Gs, "augment_pipe": None}, "G_ema G D"),
    "dict of Gs": (lambda G, D, Gs: {"Gs": Gs, "D": None}, "G_ema"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("program", ["TensorFlow", "PyTorch"])
def test_containers(tmp_path, container, program):
    """Whatever one of the programs, or its users, put networks into, of the other too."""
    tensors = official_tensors("rgb16", "G"), official_tensors("rgb16", "D")
    averaged = {name: tensor * 2 if name.endswith("const") else tensor for name, tensor in tensors[0].items()}
    if program == "TensorFlow":
        (G, D, _), (*_, Gs) = pickled.tensorflow_networks(*tensors), pickled.tensorflow_networks(averaged, tensors[1])
    else:
        G, D, Gs = pickled.generator(tensors[0]), pickled.discriminator(tensors[1]), pickled.generator(averaged)
    make, parts = CONTAINERS[container]
    file = read_network(pickled.write(tmp_path / "a.pkl", make(G, D, Gs)))
    assert " ".join(file.parts) == parts
    for name in set(file.parts) - {"D"}:
        const = averaged if name == "G_ema" and container != "without Gs" else tensors[0]
        assert torch.equal(file.part(name).synthesis.const, const["synthesis.b4.const"])


def test_gs_goes_by_its_name(tmp_path):
    G, D, Gs = official()
    Gs.state["variables"][0] = (Gs.state["variables"][0][0], Gs.state["variables"][0][1] * 2)
    first = Gs.state["variables"][0][0]
    assert first == "dlatent_avg"
    file = read_network(pickled.write(tmp_path / "a.pkl", (Gs, D, G)))
    assert torch.equal(file.part("G_ema").mapping.w_average, 2 * file.part("G").mapping.w_average)


def test_rows_of_other_things(tmp_path):
    G, D, Gs = official()
    for row, told in (
        ((D, D), "it holds a list of 2 discriminators and 0 generators"),
        ((G, G, Gs), "it holds a list of 0 discriminators and 3 generators"),
        ((G, 3), "it holds a tuple, expected the networks G, D and G_ema"),
    ):
        path = pickled.write(tmp_path / "a.pkl", row)
        with pytest.raises(ValueError) as error:
            open_foreign(path)
        assert str(error.value) == f"{path} is refused: {told}"
