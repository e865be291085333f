"""Sizes of networks: those of the published ones, and those that docs/diffusion.md lists."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.adm.config import ClassifierConfig, UNetConfig, published_classifier, published_unet
from models.adm.network import NoisyClassifier, UNet
from models.dit.config import PATCHES, SIZES, DiTConfig, named_sizes
from models.dit.network import DiT
from tests.documents import ROOT

SIZE = json.loads((ROOT / "tests" / "parity" / "data" / "sizes.json").read_text())
PAGE = (ROOT / "docs" / "diffusion.md").read_text(encoding="utf-8")
PAPER = {"channels": 4, "classes": 1000, "noise": {"objective": "eps", "learned_variance": True}}


def made(build: Callable[[Any], nn.Module], config: Any) -> nn.Module:
    with torch.device("meta"):
        return build(config)


def counts(network: nn.Module) -> dict[str, int]:
    state = network.state_dict().values()
    trainable = sum(p.numel() for p in network.parameters())
    return {"parameters": sum(v.numel() for v in state), "tensors": len(state), "trainable": trainable}


def test_transformers_have_the_published_sizes():
    expected = SIZE["dit_input_32_classes_1000"]
    assert len(expected) == 12
    for name, size in named_sizes().items():
        if (key := name.upper().replace("DIT", "DiT")) in expected:
            assert counts(made(DiT, DiTConfig(**size, **PAPER))) == expected[key], name


@pytest.mark.parametrize("name", SIZE["adm"])
def test_unets_have_the_published_sizes(name):
    side, kind = name.split()
    config = UNetConfig(**published_unet(int(side), 1000 if kind == "conditional" else 0))
    assert counts(made(UNet, config)) == SIZE["adm"][name]


@pytest.mark.parametrize("name", SIZE["adm_classifier"])
def test_classifiers_have_the_published_sizes(name):
    config = ClassifierConfig(**published_classifier(int(name.split(",")[0])))
    assert counts(made(NoisyClassifier, config)) == SIZE["adm_classifier"][name]


@pytest.mark.parametrize("size", SIZES)
def test_the_page_lists_parameters_and_operations_of_the_transformers(size):
    (row,) = re.findall(rf"^\| `dit-{size}` \|(.*)\|$", PAGE, re.M)
    shape, parameters, *rest = (cell.strip() for cell in row.split("|"))
    assert shape == ", ".join(str(number) for number in SIZES[size].values())
    network = made(DiT, DiTConfig(**SIZES[size], patch=4, classes=5))
    x, t, c = torch.empty(1, 3, 32, 32), torch.empty(1), torch.empty(1, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*(tensor.to("meta") for tensor in (x, t, c)))
    assert f"{counter.get_total_flops() / 2e9:.2f}" == rest[PATCHES.index(4)]
    assert f"{counts(network)['trainable'] / 1e6:.1f} M" == parameters
    if size != "ti":
        expected = (SIZE["dit_input_32_classes_1000"][f"DiT-{size.upper()}/{patch}"] for patch in (2, 4, 8))
        assert [int(cell.replace(",", "")) for cell in rest[len(PATCHES) :]] == [one["parameters"] for one in expected]
