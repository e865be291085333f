"""The recipe: its phases, its batches, its memory of the past."""

from types import SimpleNamespace

import pytest
import torch

from imaging.pixels import to_pixels
from torch_utils import checkpoint, seeds
from torch_utils.stats import Collector
from training.recipe import Draws, Pictures
from training.stylegan2 import losses as gan_losses
from training.stylegan2.config import resolve
from training.stylegan2.recipe import Reals, StyleGAN2

CPU = torch.device("cpu")


def recipe(classes=0, batch=4, preset="auto", **given) -> StyleGAN2:
    data = {"height": 16, "width": 16, "channels": 3, "classes": classes}
    small = {"precision": "fp32", "pace.batch": batch}
    for network in ("generator", "discriminator"):
        small |= {f"{network}.channel_base": 64}
    small |= {"generator.z_dim": 8, "generator.w_dim": 8}
    torch.manual_seed(0)
    return StyleGAN2(resolve(preset, data, small | given, 1), torch.ones(classes), CPU)


def draws(phase="Gmain", batch=4, start=0, stop=None, iteration=0) -> Draws:
    return Draws(0, iteration, phase, batch, start, batch if stop is None else stop, CPU)


def reals(r: StyleGAN2, count=4) -> Reals:
    torch.manual_seed(1)
    return of(r, torch.rand(count, 3, 16, 16) * 2 - 1, torch.zeros(count, dtype=torch.int64))


def of(r: StyleGAN2, images: torch.Tensor, labels: torch.Tensor) -> Reals:
    """A batch of images in [-1, 1] that are no uint8 pixels."""
    return r.batch(Pictures(images.byte(), labels))._replace(images=images)


# What the losses of a phase do not depend on: path lengths on what is added to images, penalties of gradients on
# what is added after D's last curved place, and losses of pairs on what is added to both scores.
STILL = {
    "Gmain": set(),
    "Gpath": {f"synthesis.blocks.{k}.rgb.bias" for k in range(3)},
    "Dmain": set(),
    "Dr1": {"tail.conv.bias", "tail.fc.bias", "tail.out.bias"},
}
STILL |= {"Dmain of pairs": {"tail.out.bias"}, "Dr1r2": STILL["Dr1"]}


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", ["logistic", "rpgan"])
def test_every_phase_teaches_its_network_all_that_its_losses_depend_on(classes, kind):
    r = recipe(classes, **{"loss.kind": kind})
    for phase in r.phases:
        other = r.D if phase.network is r.G else r.G
        before = {name: p.clone() for name, p in phase.network.named_parameters()}
        others = [p.clone() for p in other.parameters()]
        phase.step([r.losses(phase, reals(r) if phase.reads_images else None, draws(phase.name))], 1, Collector())
        assert phase.skipped() == 0
        still = {name for name, p in phase.network.named_parameters() if torch.equal(p, before[name])}
        pairs = " of pairs" if kind == "rpgan" and phase.name == "Dmain" else ""
        assert still == STILL[phase.name + pairs], phase.name
        assert all(torch.equal(a, b) for a, b in zip(others, other.parameters(), strict=True))


def test_phases_and_their_order():
    assert [(p.name, p.interval) for p in recipe().phases] == [("Gmain", 1), ("Gpath", 4), ("Dmain", 1), ("Dr1", 16)]
    assert [p.name for p in recipe(preset="cifar").phases] == ["Gmain", "Dmain", "Dr1"]
    assert [p.name for p in recipe(**{"loss.gamma": 0.0}).phases] == ["Gmain", "Gpath", "Dmain"]
    assert [len(recipe(preset=p).D.layers) for p in ("auto", "cifar")] == [1 + 2 * 3, 1 + 2 * 2]


def linear_scores(r: StyleGAN2) -> list[torch.Tensor]:
    """D(x) = <a, x>, so that every loss of pairs has a closed form. Returns a list of the images that D will see."""
    a, seen = torch.linspace(-0.01, 0.01, 3 * 16 * 16).reshape(3, 16, 16), []

    def score(x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        seen.append(x)
        return (x * a).sum(dim=[1, 2, 3])[:, None]

    r.plain = r.passes = r.plain._replace(score=score)
    return seen


def test_relativistic_terms_in_closed_form():
    """With D(x) = <a, x> the pairs' losses are softplus of the difference of two sums, and R1 = R2 = |a|^2."""
    r = recipe(classes=3, **{"loss.kind": "rpgan", "loss.gamma": 4.0})
    seen = linear_scores(r)
    r.G.requires_grad_(True)
    real = of(r, torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([2, 0, 0, 1]))
    a = torch.linspace(-0.01, 0.01, 3 * 16 * 16).reshape(3, 16, 16)
    phases = {p.name: p for p in r.phases}
    assert [(p.name, p.interval, p.reads_images) for p in r.phases] == [
        ("Gmain", 1, True),
        ("Gpath", 4, False),
        ("Dmain", 1, True),
        ("Dr1r2", 16, True),
    ]
    for name, sign in (("Gmain", 1), ("Dmain", -1)):
        seen.clear()
        ((loss, _),) = list(r.losses(phases[name], real, draws(name)))
        fake, shown = seen
        assert shown is real.images and fake.requires_grad == (name == "Gmain")
        margin = ((real.images - fake) * a).sum(dim=[1, 2, 3])
        torch.testing.assert_close(loss, torch.nn.functional.softplus(sign * margin).mean())
    terms = list(r.losses(phases["Dr1r2"], real, draws("Dr1r2")))
    assert [next(iter(reports)) for _, reports in terms] == ["r1/penalty", "r2/penalty"]
    for loss, _ in terms:
        torch.testing.assert_close(loss, 4.0 / 2 * a.square().sum())


def test_fakes_of_a_pair_have_the_class_of_their_real():
    r = recipe(classes=3, **{"loss.kind": "rpgan"})
    real = of(r, torch.zeros(4, 3, 16, 16), torch.tensor([2, 0, 0, 1]))
    seen = []
    r.plain = r.passes = r.plain._replace(map=lambda z, c: seen.append(c) or r.G.mapping(z, c))
    for phase in (p for p in r.phases if p.name != "Gpath"):
        list(r.losses(phase, real, draws(phase.name)))
    assert len(seen) >= 3 and all(torch.equal(c, real.c) for c in seen)


def test_frozen_layers_of_d_stay_as_they_are():
    """Five layers from the image: the RGB layer, three convolutions of the first block, one of the second."""
    r = recipe(**{"optimizer.freeze_d": 5})
    before = {name: p.clone() for name, p in r.D.named_parameters()}
    for phase in r.phases:
        phase.step([r.losses(phase, reals(r) if phase.reads_images else None, draws(phase.name))], 1, Collector())
    same = {name for name, p in r.D.named_parameters() if torch.equal(p, before[name])}
    frozen = ("from_rgb.", "blocks.0.", "blocks.1.conv0.")
    assert same == {name for name in before if name.startswith(frozen)} and len(same) == 2 + 5 + 2


def test_main_and_regularization_share_one_adam():
    gmain, gpath, dmain, dr1 = recipe().phases
    assert gmain.optimizer is gpath.optimizer and dmain.optimizer is dr1.optimizer


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_path_lengths_of_the_smallest_batches(batch):
    """Half of a batch of one would be none; one sample is taken then."""
    r = recipe(batch=batch)
    phase = r.phases[1]
    collector = Collector()
    phase.step([r.losses(phase, None, draws("Gpath", batch))], 1, collector)
    assert phase.skipped() == 0
    moments = collector.read()["path/length"]
    assert moments.count == max(batch // 2, 1) and moments.mean > 0


def test_rounds_see_the_samples_of_the_whole_batch():
    """Without noise and minibatch statistics, four rounds of one sample give the gradients of one round of four."""
    options = {"loss.noise": "none", "discriminator.mbstd_group": 1}
    whole, parts = recipe(**options), recipe(**options)
    for name in ("Gmain", "Dmain", "Dr1"):
        a, b = (next(p for p in r.phases if p.name == name) for r in (whole, parts))
        real = reals(whole)
        a.step([whole.losses(a, real, draws(name))], 1, Collector())
        rounds = [
            parts.losses(b, Reals(real.images[i : i + 1], None), draws(name, start=i, stop=i + 1)) for i in range(4)
        ]
        b.step(rounds, 4, Collector())
        for p, q in zip(a.network.parameters(), b.network.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, atol=2e-5, rtol=1e-3)
        b.network.load_state_dict(a.network.state_dict())  # so that rounding does not add up over the phases


def test_an_overflow_costs_one_step(monkeypatch):
    """An infinite path length or w is not remembered: the next step is taken as ever."""
    r = recipe()
    gpath = r.phases[1]
    honest = gan_losses.path_lengths
    for poisoned in (True, False):
        factor = float("inf") if poisoned else 1.0
        monkeypatch.setattr(gan_losses, "path_lengths", lambda *a, k=factor: honest(*a) * k)
        gpath.step([r.losses(gpath, None, draws("Gpath"))], 1, Collector())
        assert gpath.skipped() == 1 and r.path_mean.isfinite()
    r.G.mapping.update_average(torch.full([2, 8], float("nan")), 0.9)
    assert r.G.mapping.w_average.isfinite().all()


def test_style_mixing_takes_one_crossover_for_the_batch():
    r = recipe(**{"loss.mixing": 1.0})
    cuts = set()
    for iteration in range(40):
        ws, _ = r._ws(r.plain, draws(iteration=iteration))
        same = (ws[:, 1:] == ws[:, :-1]).all(dim=2)  # [N, L - 1]
        assert (same.sum(dim=1) == ws.shape[1] - 2).all()  # exactly one change
        assert (same == same[:1]).all()  # at the same place
        cuts.add(int((~same[0]).nonzero().item()) + 1)
    assert cuts == set(range(1, r.G.synthesis.num_ws))
    r = recipe(**{"loss.mixing": 0.0})
    unmixed, _ = r._ws(r.plain, draws())
    assert (unmixed == unmixed[:, :1]).all()


def test_classes_are_drawn_with_the_frequencies_of_the_data():
    r = recipe(classes=3)
    r.thresholds = torch.tensor([0.0, 9.0, 0.0]).cumsum(0)
    _, c = r._ws(r.plain, draws())
    assert torch.equal(c, torch.tensor([[0.0, 1.0, 0.0]]).expand(4, 3))


def test_the_average_of_w_moves_in_every_phase_that_maps():
    r = recipe()
    for phase, moves in zip(r.phases, (True, True, True, False), strict=True):
        before = r.G.mapping.w_average.clone()
        phase.step([r.losses(phase, reals(r), draws(phase.name))], 1, Collector())
        assert torch.equal(before, r.G.mapping.w_average) != moves, phase.name


def test_nothing_depends_on_the_global_random_state():
    r = recipe(classes=2)
    for phase in r.phases:
        values = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            r.path_mean = torch.zeros([])
            for p in phase.network.parameters():
                p.requires_grad_(True)
            values.append([loss.detach() for loss, _ in r.losses(phase, reals_fixed(r), draws(phase.name))])
            phase.network.requires_grad_(False)
        assert values[0] == values[1], phase.name


def reals_fixed(r: StyleGAN2) -> Reals:
    images = torch.linspace(-1, 1, 4 * 3 * 16 * 16).reshape(4, 3, 16, 16)
    return of(r, images, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("precision", ["bf16"])
def test_low_precision_is_close_to_float32(precision):
    """Relative to float32, bfloat16 has 8 bits: losses agree to a few per cent, gradients point the same way."""
    exact, low = recipe(), recipe(precision=precision)
    low.G.load_state_dict(exact.G.state_dict())
    low.D.load_state_dict(exact.D.state_dict())
    assert {b.dtype for b in low.G.synthesis.blocks} == {torch.bfloat16}
    for name in ("Gmain", "Gpath", "Dmain", "Dr1"):
        gradients = []
        for r in (exact, low):
            phase = next(p for p in r.phases if p.name == name)
            phase.network.requires_grad_(True)
            for loss, _ in r.losses(phase, reals(r), draws(name)):
                loss.backward()
            grads = [p.grad.flatten() for p in phase.network.parameters() if p.grad is not None]
            gradients.append(torch.cat(grads))
            phase.network.requires_grad_(False)
            phase.network.zero_grad()
        cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
        assert cosine > 0.98, (name, cosine)


def test_state_round_trip():
    """What is taken up is all there is: both go on alike, and neither shares memory with the other."""
    a, b = recipe(classes=2, **{"augment.mode": "ada"}), recipe(classes=2, **{"augment.mode": "ada"})
    for phase in a.phases:
        phase.step([a.losses(phase, reals(a), draws(phase.name))], 1, Collector())
    a.after_step(seen=100)
    b.load_state_dict(a.state_dict())
    torch.testing.assert_close(b.state_dict(), a.state_dict(), rtol=0, atol=0)
    for r in (a, b):
        for phase in r.phases:
            phase.step([r.losses(phase, reals(r), draws(phase.name, iteration=1))], 1, Collector())
        r.after_step(seen=104)
    tensors_a, tensors_b = (checkpoint.pack(r.state_dict())[0] for r in (a, b))
    assert tensors_a.keys() == tensors_b.keys() and len(tensors_a) > 300
    for name, tensor in tensors_a.items():
        assert torch.equal(tensor, tensors_b[name]) and tensor.data_ptr() != tensors_b[name].data_ptr(), name


def test_images_of_a_batch_come_with_their_classes():
    pixels, labels = torch.randint(256, [3, 3, 16, 16], dtype=torch.uint8), torch.tensor([2, 0, 1])
    real = recipe(classes=3).batch(Pictures(pixels, labels))
    torch.testing.assert_close(real.images, pixels / 127.5 - 1)
    assert real.c is not None and torch.equal(real.c, torch.eye(3)[labels])
    assert recipe().batch(Pictures(pixels, torch.zeros(3, dtype=torch.int64))).c is None


def test_a_sheet_shows_the_average_of_g():
    """The latents are those of published runs: seed 0 and the purpose alone decide them."""
    r = recipe(classes=5)
    sheet = SimpleNamespace(seed=0, labels=[1, 1, 3, 3])
    shown = torch.stack(list(r.show(sheet)))
    z = torch.randn(4, 8, generator=seeds.generator("cpu", 0, "sample sheet"))
    images = r.G_ema(z, torch.eye(5)[sheet.labels], noise_mode="const")
    assert torch.equal(shown, to_pixels(images, "nearest")) and shown.dtype == torch.uint8
