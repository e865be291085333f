import numpy as np
import pytest
import torch

from models.stylegan2.latents import seeds_to_z
from models.stylegan2.styles import seeds_to_ws, ws_to_pixels
from tests.networks import tiny_generator

SEEDS = [0, 5, 3, 2**32 - 1]


@pytest.fixture(scope="module", name="G")
def tiny():
    return tiny_generator()


def _pictures(G, seeds, classes=None, noise_mode="const", batch=1, **truncation):
    ws = seeds_to_ws(G, seeds, classes, **truncation)
    return list(ws_to_pixels(G, ws, seeds, noise_mode, batch))


def test_a_picture_is_the_official_chain_written_out(G):
    z = np.random.RandomState(5).randn(1, 8)
    images = G(torch.from_numpy(z).float(), None, 0.7, 3, noise_mode="const")
    expected = (images[0] * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    (picture,) = _pictures(G, [5], psi=0.7, cutoff=3)
    assert picture.shape == (3, 16, 16) and picture.dtype == torch.uint8
    assert torch.equal(picture, expected)


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_seed_gives_the_same_bytes_in_any_company(G, noise_mode, batch):
    alone = {seed: _pictures(G, [seed], noise_mode=noise_mode)[0] for seed in SEEDS}
    for seeds in (SEEDS, SEEDS[::-1], [3, 3, 0]):
        made = _pictures(G, seeds, noise_mode=noise_mode, batch=batch)
        assert len(made) == len(seeds)
        assert all(torch.equal(picture, alone[seed]) for seed, picture in zip(seeds, made, strict=True))


def test_a_cpu_computes_each_picture_by_itself(G):
    """What the bytes rest on: rounding depends on the batch, though too rarely to show on every picture."""
    counts: dict[str, list[int]] = {"mapping": [], "synthesis": []}
    for name, of_network in counts.items():
        counter = G.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, c=of_network: c.append(len(output))
        )
        _pictures(G, SEEDS, batch=4)
        counter.remove()
    assert counts == {"mapping": [1] * 4, "synthesis": [1] * 4}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_noise_is_by_seed_on_a_gpu_too():
    G = tiny_generator().cuda()
    alone = [_pictures(G, [seed], noise_mode="random")[0] for seed in SEEDS]
    together = _pictures(G, SEEDS, noise_mode="random", batch=len(SEEDS))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_noise_modes_differ_and_random_noise_belongs_to_its_seed(G):
    (w,) = seeds_to_ws(G, [5])
    const, random, none = (next(ws_to_pixels(G, [w], [5], mode)) for mode in ("const", "random", "none"))
    assert not torch.equal(const, random) and not torch.equal(const, none)
    assert torch.equal(next(ws_to_pixels(G, [w], [5], "random")), random)
    assert not torch.equal(next(ws_to_pixels(G, [w], [6], "random")), random)


def test_sampling_leaves_the_random_state_alone(G):
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    _pictures(G, [0, 1], noise_mode="random")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])


def test_pictures_are_made_one_by_one_as_they_are_asked_for(G):
    asked = []

    def ws():
        for seed in range(1000):
            asked.append(seed)
            yield from seeds_to_ws(G, [seed])

    pictures = ws_to_pixels(G, ws(), range(1000))
    next(pictures)
    next(pictures)
    assert asked == [0, 1]


def test_every_layer_gets_its_w_and_the_average_at_psi_0(G):
    first, second = seeds_to_ws(G, [0, 1], psi=0.0)
    assert first.shape == (G.config.num_ws, 8)
    assert torch.equal(first, G.mapping.w_average.expand_as(first)) and torch.equal(first, second)


def test_each_seed_takes_its_class():
    G = tiny_generator(classes=3)
    made = _pictures(G, [4, 4, 9], classes=[0, 2, 2])
    assert not torch.equal(made[0], made[1])
    c = torch.tensor([[0.0, 0.0, 1.0]])
    expected = G.ws(seeds_to_z([9], 8), c)[0]
    assert torch.equal(next(iter(seeds_to_ws(G, [9], [2]))), expected)


@pytest.mark.parametrize("label", [3, -1])
def test_a_class_that_the_network_lacks_is_refused(label):
    with pytest.raises(ValueError) as error:
        next(seeds_to_ws(tiny_generator(classes=3), [0], [label]))
    assert str(error.value) == f"class {label} is none of this network's 3 classes, counted from 0"


def test_classes_must_be_given_where_there_are_some_and_only_there(G):
    with pytest.raises(ValueError, match="this network has classes: c must be one-hot"):
        next(seeds_to_ws(tiny_generator(classes=3), [0]))
    with pytest.raises(ValueError, match="class 0 is none of this network's 0 classes"):
        next(seeds_to_ws(G, [0], [0]))


@pytest.mark.parametrize("size", [{"height": 12, "width": 20}, {"channels": 1}, {"channels": 4}])
def test_every_size_and_kind_of_picture(size):
    G = tiny_generator(**size)
    (picture,) = _pictures(G, [0])
    assert picture.shape == (G.config.channels, G.config.height, G.config.width)
