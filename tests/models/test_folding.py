"""Weights that are prepared for inference once: the same images, and never those of weights that are gone."""

import copy
import pickle

import pytest
import torch

from models.stylegan2.generator import Generator
from models.stylegan2.modulation import Conv2DMod
from tests.models.test_networks import generator


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [1, 3])
def test_folded_weights_give_the_same_images(precision, batch):
    G = generator().set_precision(precision).eval().requires_grad_(False)
    ws = G.ws(torch.randn(batch, 8))
    with torch.inference_mode():
        expected = G.synthesis(ws, "const")
        assert torch.equal(G.fold().synthesis(ws, "const"), expected)


@pytest.mark.parametrize("undo", [lambda G: G.train(), lambda G: G.set_precision("fp32")])
def test_folded_weights_are_forgotten_when_they_may_change(undo):
    G = generator().requires_grad_(False)
    ws = G.ws(torch.randn(2, 8))
    G.fold()
    G.synthesis.blocks[1].conv1.conv.weight.mul_(2)  # which demodulation undoes, but not with the old energy
    folded = G.synthesis(ws, "const")
    undo(G)
    assert not torch.equal(G.synthesis(ws, "const"), folded)


def other_weights(G: Generator) -> Generator:
    """The same network with other weights, noise and average."""
    torch.manual_seed(1)
    other = copy.deepcopy(G)
    for tensor in other.state_dict().values():
        tensor.copy_(torch.randn_like(tensor))
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda G: G.to(torch.float64).to(torch.float32),
        lambda G: G.half().float(),
        copy.deepcopy,
        lambda G: [G.load_state_dict(other_weights(G).state_dict()), G][1],
        lambda G: [G.load_state_dict(other_weights(G).state_dict(), assign=True), G][1],
        lambda G: [G.to_empty(device="cpu").load_state_dict(other_weights(generator()).state_dict()), G][1],
        lambda G: pickle.loads(pickle.dumps(G)),
    ],
)
def test_a_folded_network_computes_with_the_weights_that_it_has(change):
    """However it was moved, converted, copied or filled after `fold`."""
    folded = change(generator().requires_grad_(False).eval().fold())
    plain = change(generator().requires_grad_(False).eval())
    ws = plain.ws(torch.randn(2, 8))
    assert torch.equal(folded.synthesis(ws, "none"), plain.synthesis(ws, "none"))
    assert plain.synthesis(ws, "none").std() > 0


def test_a_folded_network_that_moves_stays_folded():
    G = generator().requires_grad_(False).fold().to(torch.float64)
    folded = [module.folded for module in G.modules() if isinstance(module, Conv2DMod)]
    assert all(weights is not None and weights.w.dtype == torch.float64 for weights in folded)


def test_a_folded_network_has_gradients_of_its_weights():
    """Those without folding; what is folded serves where no gradient of a weight is asked for."""
    gradients = []
    for G in (generator(), generator().fold()):
        G.requires_grad_(True)
        G.synthesis(G.ws(torch.ones(2, 8)), "none").square().sum().backward()
        gradients.append([p.grad for name, p in G.named_parameters() if name.endswith("conv.weight")])
    assert len(gradients[0]) == 8 and all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
