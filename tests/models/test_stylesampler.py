import numpy as np
import pytest
import torch

from models.sampler import NumberStream, Request, Sampler, SeedStream, Straight
from models.stylegan2.choices import StyleOptions
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from tests.networks import pictures_of, requests, tiny_generator, ws_of
from torch_utils import seeds as streams

SEEDS = [0, 5, 3, 2**32 - 1]
CUDA = torch.device("cuda", 0)


@pytest.fixture(scope="module", name="G")
def tiny():
    return tiny_generator()


def test_a_picture_is_the_official_chain_written_out(G):
    z = np.random.RandomState(5).randn(1, 8)
    images = G(torch.from_numpy(z).float(), None, 0.7, 3, noise_mode="const")
    expected = (images[0] * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    (picture,) = pictures_of(G, [5], psi=0.7, psi_cutoff=3)
    assert picture.shape == (3, 16, 16) and picture.dtype == torch.uint8
    assert torch.equal(picture, expected)


def test_noise_is_scaled_and_has_a_seed_of_its_own(G):
    (none,), (whole,) = pictures_of(G, [5], noise_mode="none"), pictures_of(G, [5])
    assert torch.equal(pictures_of(G, [5], noise_strength=0)[0], none) and not torch.equal(whole, none)
    random, of_seven, own = (pictures_of(G, [5, 7], noise_mode="random", noise_seed=seed) for seed in (5, 7, None))
    assert torch.equal(random[0], own[0]) and torch.equal(of_seven[1], own[1]) and not torch.equal(random[1], own[1])
    strong = ws_of(G, [5]), requests([5])
    first, second = (StyleSampler(G, StyleOptions(noise_strength=s)).render(*strong) for s in (1.0, 2.0))
    third = G.synthesis.render(strong[0], [2 * noise for noise in G.synthesis.noises(1, "const", None)])
    assert torch.equal(second, third) and not torch.equal(first, second)


def test_psi_acts_on_a_range_of_layers(G):
    plain = ws_of(G, [3])
    moved = StyleSampler(G, StyleOptions(psi=0.25, psi_from=2, psi_cutoff=4)).ws(requests([3]))
    assert torch.equal(moved[:, [0, 1, 4, 5]], plain[:, [0, 1, 4, 5]])
    assert torch.allclose(moved[:, 2:4], G.mapping.w_average.lerp(plain[:, 2:4], 0.25))
    assert torch.equal(StyleSampler(G, StyleOptions(psi=0, psi_from=4, psi_cutoff=4)).ws(requests([3])), plain)


def test_classes_are_mixed_before_the_mapping():
    G = tiny_generator(classes=3)
    sampler = StyleSampler(G)
    (request,) = requests([4], [1])
    (both,) = (sampler.of_classes(request, [(2, 3.0), (0, 1.0)]),)
    assert both.label == 2 and both.classes == ((2, 0.75), (0, 0.25))
    expected = G.ws(sampler.latents([request]), torch.tensor([[0.25, 0, 0.75]]))
    assert torch.equal(sampler.ws([both]), expected)
    alone = sampler.of_classes(request, [(1, 0.3)])
    assert torch.equal(next(sampler.sample([alone])), next(sampler.sample([request])))


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_a_seed_gives_the_same_bytes_in_any_company(G, noise_mode):
    alone = {seed: pictures_of(G, [seed], noise_mode=noise_mode)[0] for seed in SEEDS}
    for seeds in (SEEDS, SEEDS[::-1], [3, 3, 0]):
        made = pictures_of(G, seeds, noise_mode=noise_mode)
        assert len(made) == len(seeds)
        assert all(torch.equal(picture, alone[seed]) for seed, picture in zip(seeds, made, strict=True))
    for picture, seed in zip(pictures_of(G, SEEDS, noise_mode=noise_mode, at_once=3), SEEDS, strict=True):
        assert (picture.int() - alone[seed].int()).abs().max() <= 1


@pytest.mark.parametrize(("at_once", "batches"), [(1, [1, 1, 1, 1]), (3, [3, 1])])
def test_as_many_are_computed_together_as_asked(G, at_once, batches):
    """What the bytes rest on: rounding depends on the batch, though too rarely to show on every picture."""
    counts: dict[str, list[int]] = {"mapping": [], "synthesis": []}
    for name, of_network in counts.items():
        counter = G.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, c=of_network: c.append(len(output))
        )
        pictures_of(G, SEEDS, at_once=at_once)
        counter.remove()
    assert counts == {"mapping": batches, "synthesis": batches}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_noise_is_by_seed_on_a_gpu_too():
    G = tiny_generator().cuda()
    alone = [pictures_of(G, [seed], noise_mode="random")[0] for seed in SEEDS]
    together = pictures_of(G, SEEDS, noise_mode="random")
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_noise_modes_differ_and_random_noise_belongs_to_its_seed(G):
    w = ws_of(G, [5])
    (const,), (random,), (none,) = (pictures_of(G, [5], ws=w, noise_mode=mode) for mode in ("const", "random", "none"))
    assert not torch.equal(const, random) and not torch.equal(const, none)
    assert torch.equal(pictures_of(G, [5], ws=w, noise_mode="random")[0], random)
    assert not torch.equal(pictures_of(G, [6], ws=w, noise_mode="random")[0], random)


def test_random_noise_is_the_generators_own_with_the_seeds_stream(G):
    """The numbers of earlier versions, which drew within the synthesis."""
    images = G.synthesis(ws_of(G, [5]), "random", streams.generator("cpu", 5, "noise"))
    expected = (images[0] * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    assert torch.equal(pictures_of(G, [5], noise_mode="random")[0], expected)


def test_on_a_gpu_the_noise_of_all_layers_is_one_draw_for_each_picture(monkeypatch, G):
    """What CUDA would do, on a CPU: a stream for each picture, cut into the layers' noise in their order."""
    sampler = StyleSampler(G, StyleOptions(noise_mode="random"))
    monkeypatch.setattr(StyleSampler, "device", CUDA)
    monkeypatch.setattr(NumberStream, "generator", lambda self, purpose, device: (device, purpose, self.number))
    drawn, plain = [], torch.randn

    def randn(size, device, generator):
        drawn.append((size, device, generator))
        return plain(size, generator=torch.Generator().manual_seed(generator[2]))

    monkeypatch.setattr(torch, "randn", randn)
    noises = sampler._noises([Request("", None, NumberStream(0, "metrics", i)) for i in (4, 7, 4)])
    total = sum(layer.noise.fixed.numel() for layer in G.synthesis.layers)
    assert drawn == [(total, CUDA, (CUDA, "noise", i)) for i in (4, 7, 4)]
    assert all(torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[1]) for noise in noises)
    flat = torch.cat([noise[1].flatten() / 0.2 for noise in noises])  # 0.2 is the strength of each
    torch.testing.assert_close(flat, plain(total, generator=torch.Generator().manual_seed(7)))
    assert [tuple(noise.shape[1:]) for noise in noises] == [(1, 4, 4), *[(1, 8, 8)] * 2, *[(1, 16, 16)] * 2]


def test_sampling_leaves_the_random_state_alone(G):
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    pictures_of(G, [0, 1], noise_mode="random")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])


def test_pictures_are_made_one_by_one_as_they_are_asked_for(G):
    asked, sampler = [], StyleSampler(G)

    def ws():
        for seed in range(1000):
            asked.append(seed)
            yield ws_of(G, [seed])[0]

    made = sampler.pictures(ws(), requests(range(1000)))
    next(made)
    next(made)
    assert asked == [0, 1]


def test_every_layer_gets_its_w_and_the_average_at_psi_0(G):
    first, second = ws_of(G, [0, 1], psi=0.0)
    assert first.shape == (G.config.num_ws, 8)
    assert torch.equal(first, G.mapping.w_average.expand_as(first)) and torch.equal(first, second)


def test_each_seed_takes_its_class():
    G = tiny_generator(classes=3)
    made = pictures_of(G, [4, 4, 9], [0, 2, 2])
    assert not torch.equal(made[0], made[1])
    c = torch.tensor([[0.0, 0.0, 1.0]])
    assert torch.equal(ws_of(G, [9], [2]), G.ws(SeedStream(9).normal(8)[None], c))


def test_without_a_class_seeds_take_the_learned_classes_in_turn():
    sampler = StyleSampler(tiny_generator(classes=3), metadata={"data": {"class_counts": [5, 0, 7]}})
    assert [(r.name, r.label) for r in sampler.requests([0, 1, 5])] == [
        ("seed0000", 0),
        ("seed0001", 2),
        ("seed0005", 2),
    ]
    assert [r.label for r in sampler.requests([0, 1], 1)] == [1, 1]
    assert StyleSampler(tiny_generator()).requests([3]) == [Request("seed0003", None, SeedStream(3))]


@pytest.mark.parametrize("label", [3, -1])
def test_a_class_that_the_network_lacks_is_refused(label):
    with pytest.raises(ValueError) as error:
        pictures_of(tiny_generator(classes=3), [0], [label])
    assert str(error.value) == f"class {label}: this network has 3 classes, counted from 0"


def test_classes_must_be_given_where_there_are_some_and_only_there(G):
    with pytest.raises(ValueError, match="this network has classes: c must be one-hot"):
        pictures_of(tiny_generator(classes=3), [0])
    with pytest.raises(ValueError, match="class 0: this network has 0 classes"):
        pictures_of(G, [0], [0])


def test_a_copy_in_float32_leaves_the_sampler_as_it_is():
    sampler = StyleSampler(tiny_generator().set_precision("bf16"))
    copy = sampler.in_float32()
    assert isinstance(sampler.G, Generator) and isinstance(copy.G, Generator)
    assert [block.dtype for block in sampler.G.synthesis.blocks][-1] == torch.bfloat16
    assert all(block.dtype == torch.float32 for block in copy.G.synthesis.blocks)


@pytest.mark.parametrize("size", [{"height": 12, "width": 20}, {"channels": 1}, {"channels": 4}])
def test_every_size_and_kind_of_picture(size):
    G = tiny_generator(**size)
    sampler = StyleSampler(G)
    assert isinstance(sampler, Sampler) and isinstance(sampler, Straight)
    (picture,) = pictures_of(G, [0])
    assert picture.shape == (G.config.channels, G.config.height, G.config.width)
    assert sampler.shape == (G.config.height, G.config.width, G.config.channels, 0)
