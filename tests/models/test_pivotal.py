import copy

import pytest
import torch

from models.perceptual.embeddings import pyramid_vectors
from models.stylegan2.projector import Tuning, TuningSettings, distances, neighbor
from tests.networks import tiny_generator

EMBED = pyramid_vectors


@pytest.fixture(name="setup")
def pivots_and_targets():
    """A network, latents that do not show the targets, and the targets."""
    G = tiny_generator().fold()
    draws = torch.Generator().manual_seed(0)
    z = torch.randn(6, 8, generator=draws)
    return G, G.ws(z[:3]), G(z[3:], noise_mode="const")


def _tuned(setup, **settings):
    G, pivots, targets = setup
    settings = TuningSettings(**{"steps": 10, "rate": 3e-3, "noise": "const"} | settings)
    tuning = Tuning(G, pivots, None, targets, EMBED, settings, 2.0)
    return tuning, torch.stack([tuning.step() for _ in range(settings.steps)])


def test_the_loss_falls_for_each_target_and_the_original_stays(setup):
    G, pivots, targets = setup
    kept = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    tuning, losses = _tuned(setup, steps=15)
    assert bool((losses[-1] < 0.8 * losses[0]).all())
    torch.testing.assert_close(losses[0], distances(EMBED(G.synthesis(pivots, "const")), EMBED(targets)))
    assert all(torch.equal(kept[name], tensor) for name, tensor in G.state_dict().items())
    tuned = tuning.finish()
    assert not any(parameter.requires_grad for parameter in tuned.parameters())
    assert torch.equal(tuned.mapping.w_average, G.mapping.w_average)
    after = distances(EMBED(tuned.synthesis(pivots, "const")), EMBED(targets))
    assert bool((after < losses[0]).all())
    torch.testing.assert_close(tuned.fold().synthesis(pivots, "const"), tuned.synthesis(pivots, "const"))


def test_batches_are_accumulated(setup):
    """The gradients of all batches make one step: each is that of the mean over all targets."""
    G, pivots, targets = setup
    whole, losses = _tuned(setup, steps=3, batch=3)
    parts, others = _tuned(setup, steps=3, batch=1)
    torch.testing.assert_close(losses, others, rtol=1e-3, atol=1e-5)
    # Adam's first steps hardly depend on a gradient's size, so the gradients themselves are compared.
    for tuning in (whole, parts):
        tuning.G.load_state_dict(G.state_dict())
        tuning.step()
    network = copy.deepcopy(G).requires_grad_(True)
    distances(EMBED(network.synthesis(pivots, "const")), EMBED(targets)).mean().backward()
    for a, b, by_hand in zip(*(n.synthesis.named_parameters() for n in (whole.G, parts.G, network)), strict=True):
        assert a[1].grad is not None and b[1].grad is not None and by_hand[1].grad is not None, a[0]
        torch.testing.assert_close(a[1].grad, by_hand[1].grad, rtol=1e-3, atol=1e-6, msg=a[0])
        torch.testing.assert_close(b[1].grad, by_hand[1].grad, rtol=1e-3, atol=1e-6, msg=b[0])


def test_locality_keeps_other_pictures_as_they_were(setup):
    G, pivots, _ = setup
    ws = torch.stack([neighbor(pivots[0], w, 2.0) for w in G.ws(torch.randn(8, 8))[:, 0]])
    drift = {}
    for weight in (0.0, 10.0):
        tuned = _tuned(setup, steps=8, locality=weight)[0].finish()
        drift[weight] = float((tuned.synthesis(ws, "const") - G.synthesis(ws, "const")).square().mean())
    assert drift[10.0] < 0.7 * drift[0.0]


def test_a_neighbor_lies_at_its_distance_in_its_direction():
    pivot, w = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    found = neighbor(pivot, w[0], 3.0)
    torch.testing.assert_close((found - pivot).norm(dim=1), torch.full([6], 3.0))
    for layer in range(6):
        towards = w[0] - pivot[layer]
        torch.testing.assert_close(found[layer], pivot[layer] + 3 * towards / towards.norm())


def test_networks_with_classes_are_tuned_too():
    G = tiny_generator(classes=2)
    pivots = G.ws(torch.randn(1, 8), torch.tensor([[0.0, 1.0]]))
    tuning = Tuning(G, pivots, None, torch.zeros(1, 3, 16, 16), EMBED, TuningSettings(3, locality=0.1), 2.0)
    asked = []
    tuning.original.mapping.register_forward_pre_hook(lambda module, inputs: asked.append(inputs))
    losses = torch.stack([tuning.step() for _ in range(12)])
    assert bool((losses[-1] < losses[0]).all())
    classes = [c.argmax(dim=1).item() for _, c in asked]
    assert len(classes) == 12 and set(classes) == {0, 1}  # other latents than the pivots, of every class
    assert all(c.sum() == 1 and z.shape == (1, 8) for z, c in asked)
    assert len({z[0, 0].item() for z, _ in asked}) == 12
