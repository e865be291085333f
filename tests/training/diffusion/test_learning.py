"""What a denoising network learns from: noise levels, dropped classes, losses, statistics; and how it steps."""

import math

import pytest
import torch

from models.adm.blocks import GroupNorm
from models.compute import Conv2d, Linear
from tests.training.diffusion.recipes import awake, batch, draws, gradients, recipe
from torch_utils.stats import Collector
from training import trial
from training.diffusion import recipe as recipes
from training.diffusion.config import LevelsConfig
from training.trial import MARGIN, SLACK, compile_passes

OBJECTIVES = ("flow", "eps", "v", "x0")
MODELS = ("dit-ti/4", "adm", "noise-classifier")
MANY = 100_000


def told(learning, data, **changed):
    """The loss and the means and counts of the statistics of one round."""
    (phase,) = learning.phases
    ((loss, reports),) = learning.losses(phase, data, draws(len(data.images), **changed))
    collector = Collector()
    collector.add_all({name: value.detach() for name, value in reports.items()})
    return loss.detach(), collector.read()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("model", ["dit-ti/4", "adm"])
def test_an_untrained_network_has_the_loss_of_an_output_of_zeros(model, objective):
    """Its output is 0: the mean square of the target, in expectation over the noise (unit variance)."""
    learning, data = recipe(model, **{"denoiser.noise.objective": objective}), batch(64)
    process, k, _, _ = learning.noised(data.images, draws(64))
    power = data.images.square().flatten(1).mean(1).double()
    expected = {
        "flow": 1 + power,
        "eps": torch.ones_like(power),
        "v": process.alpha[k] ** 2 + process.sigma[k] ** 2 * power,
        "x0": power,
    }[objective]
    loss, found = told(learning, data)
    assert float(loss) == pytest.approx(float(expected.mean()), rel=0.01)  # of 64 x 768 squares
    assert found["loss/share"].mean == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_statistics_of_noise_levels_add_up_to_the_whole(objective):
    learning = recipe(**{"denoiser.noise.objective": objective})
    _, found = told(awake(learning), batch(64))
    levels = [found[name] for name in recipes.bucket_names("loss")]
    assert [level.count for level in levels] != [64] + [0] * 4 and sum(level.count for level in levels) == 64
    total = sum(level.mean * level.count for level in levels if level.count)
    assert total / 64 == pytest.approx(found["loss/denoise"].mean, rel=1e-6)


@pytest.mark.parametrize("objective", ["flow", "eps"])
def test_statistics_of_a_level_are_of_its_share_of_the_levels(objective):
    learning = recipe(**{"denoiser.noise.objective": objective, "loss.times": "uniform"})
    data = batch(MANY, side=4)
    _, _, t, _ = learning.noised(data.images, draws(MANY))
    for i, name in enumerate(recipes.bucket_names("loss")):
        counted = learning.by_level("loss", t, t)[name]
        inside = counted.values[counted.where]
        assert 200 * i <= inside.min() < 200 * i + 3 and 200 * i + 197 < inside.max() <= 200 * (i + 1), name


def test_learned_variances_are_counted_apart():
    given = {"denoiser.noise.objective": "eps", "denoiser.noise.learned_variance": True}
    _, found = told(recipe(**given), batch(64))
    levels = [found[name] for name in recipes.bucket_names("loss")]
    mse = sum(level.mean * level.count for level in levels) / 64
    assert found["loss/bound"].mean > 0
    assert found["loss/denoise"].mean == pytest.approx(mse + found["loss/bound"].mean, rel=1e-6)


def test_the_logits_of_levels_are_normal():
    loss = LevelsConfig(location=-0.8, spread=0.7)
    noise = recipe().config.network.noise
    process, k = recipes.draw_levels(noise, loss, noise.process(), draws(MANY))
    assert torch.equal(k, torch.arange(MANY))
    logits = process.sigma.logit()
    assert float(logits.mean()) == pytest.approx(-0.8, abs=0.01) and float(logits.std()) == pytest.approx(0.7, abs=0.01)
    torch.testing.assert_close(process.t, 1000 * process.sigma)
    torch.testing.assert_close(process.alpha, 1 - process.sigma)


def test_uniform_levels_are_uniform():
    noise = recipe().config.network.noise
    levels = recipes.draw_levels(noise, LevelsConfig(times="uniform"), noise.process(), draws(MANY))[0].sigma
    assert levels.min() > 0 and levels.max() <= 1
    torch.testing.assert_close(torch.histc(levels, 10, 0, 1) / MANY, torch.full([10], 0.1).double(), atol=0.004, rtol=0)
    learning = recipe(**{"denoiser.noise.objective": "eps"})
    process, k = recipes.draw_levels(learning.config.network.noise, LevelsConfig(), learning.whole, draws(MANY))
    assert len(process) == 1000 and k.min() == 0 and k.max() == 999
    torch.testing.assert_close(torch.histc(k.float(), 10, 0, 1000) / MANY, torch.full([10], 0.1), atol=0.004, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_classes_are_dropped_to_the_null_class(share):
    """Seven classes: the null class is number 7, whatever the published programs' 1000."""
    learning, seen = recipe("dit-ti/4", 7, **{"loss.label_dropout": share}), []
    data = batch(10_000, 7, side=16)

    def spy(x, t, c):
        seen.append(c)
        return torch.zeros_like(x)

    learning.forward = spy
    told(learning, data)
    (c,) = seen
    dropped = c == 7
    assert float(dropped.float().mean()) == pytest.approx(share, abs=0.01)
    assert torch.equal(c[~dropped], data.labels[~dropped])
    assert learning.network.y_embedder.embedding_table.num_embeddings == 8


@pytest.mark.parametrize("model", MODELS)
def test_gradients_do_not_depend_on_rounds(model):
    learning = awake(recipe(model, 3))
    whole, parts = (gradients(learning, batch(classes=3), rounds=rounds) for rounds in (1, 4))
    assert whole.keys() == dict(learning.network.named_parameters()).keys() == parts.keys()
    for name, gradient in whole.items():
        assert gradient.any(), name
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_recomputed_activations_give_the_same_bits(model, precision):
    """Dropout included: its masks follow from a seed."""
    given = {"precision": precision} | ({"denoiser.dropout": 0.3} if model == "adm" else {})
    kept, again = (
        gradients(awake(recipe(model, 3, checkpoint_activations=on, **given)), batch(classes=3)) for on in (False, True)
    )
    assert len(kept) > 15 and all(torch.equal(kept[name], again[name]) for name in kept)


def test_dropout_draws_without_state():
    learning = awake(recipe("adm", **{"denoiser.dropout": 0.3}))
    name = "input_blocks.1.0.out_layers.3.weight"
    first, other = (gradients(learning, batch(), iteration)[name] for iteration in (0, 1))
    torch.manual_seed(99)
    assert torch.equal(first, gradients(learning, batch())[name]) and not torch.equal(first, other)
    assert len({layer.seed for layer in learning.dropouts}) == len(learning.dropouts) > 2
    mask = learning.dropouts[0](torch.ones(4, 50, 50, 1)) * 0.7
    assert float(mask.mean()) == pytest.approx(0.7, abs=0.02) and set(mask.unique().tolist()) <= {0.0, 0.7 * (1 / 0.7)}
    assert torch.equal(learning.dropouts[0].eval()(torch.ones(4, 4)), torch.ones(4, 4))  # as in an average


def test_vectors_do_not_decay():
    """With gradients of 0, AdamW only decays: w <- (1 - lr * decay) w."""
    learning = recipe("adm", 3, **{"optimizer.weight_decay": 0.5, "optimizer.lr": 0.1, "optimizer.warm_up": 0.0})
    (phase,) = learning.phases
    before = {name: p.clone() for name, p in learning.network.named_parameters()}
    phase.step([((0 * sum(p.sum() for p in phase.parameters), {}) for _ in range(1))], 1, Collector())
    for name, p in learning.network.named_parameters():
        factor = 1 - 0.1 * 0.5 if p.ndim > 1 else 1
        torch.testing.assert_close(p.detach(), factor * before[name], msg=name)
    assert len({p.ndim for p in learning.network.parameters()}) >= 4  # vectors, matrices, kernels of both kinds


def test_the_rate_warms_up_and_gradients_are_clipped():
    learning = awake(recipe(**{"optimizer.lr": 0.01, "optimizer.warm_up": 0.08, "optimizer.clip": 1e-3}))
    (phase,), data, collector = learning.phases, batch(), Collector()
    before = [p.clone() for p in learning.network.parameters()]
    rates = []
    for iteration, seen in enumerate((0, 40, 80, 400)):
        phase.step([learning.losses(phase, data, draws(iteration=iteration))], 1, collector, seen)
        rates.append(phase.optimizer.param_groups[0]["lr"])
        norm = torch.stack([p.grad.norm() for p in phase.parameters]).norm()
        assert float(norm) == pytest.approx(1e-3, rel=1e-3)
        if not seen:
            assert all(torch.equal(a, b) for a, b in zip(before, learning.network.parameters(), strict=True))
    assert rates == pytest.approx([0, 0.005, 0.01, 0.01])
    found = collector.read()
    assert found["gradients/denoise"].mean > 1e-3 and found["clipped/denoise"].mean == 1


def test_averages_have_their_half_lives():
    """A step from 0 to 1 in every weight: after a half-life the average is at one half."""
    learning = recipe(**{"average.kimg": (0.08, 0.8), "average.ramp": 0.0})
    with torch.no_grad():
        for network in (learning.network, *(average.network for average in learning.averages)):
            for p in network.parameters():
                p.fill_(float(network is learning.network))
    for iteration in range(10):  # 80 images
        learning.after_step(8 * iteration)
    assert list(learning.networks) == ["ema", "ema_2", "net"]
    for name, kept in (("ema", 0.5), ("ema_2", 0.5**0.1), ("net", 0.0)):
        weight = learning.networks[name].final_layer.linear.weight
        torch.testing.assert_close(weight.data, torch.full_like(weight, 1 - kept))


REDUCED = (Linear, Conv2d)
WIDE = (GroupNorm, torch.nn.LayerNorm, torch.nn.Embedding, torch.nn.RMSNorm)


@pytest.mark.parametrize("model", MODELS)
def test_bf16_is_for_large_products_alone(model, monkeypatch):
    """Types as layers see them: norms, embeddings, modulation and the loss are in float32."""
    given = {"denoiser.qk_norm": True} if model == "dit-ti/4" else {}
    learning = awake(recipe(model, 3, precision="bf16", **given))
    found: dict[str, set[torch.dtype]] = {}
    for name, module in learning.network.named_modules():
        kind = type(module)
        if kind in REDUCED or isinstance(module, WIDE) or kind is torch.nn.Linear:
            module.register_forward_hook(
                lambda module, inputs, out, name=name: found.setdefault(name, set()).add(out.dtype)
            )
    norms, honest = [], torch.nn.functional.layer_norm

    def layer_norm(x, *arguments, **more):
        norms.append(x.dtype)
        return honest(x, *arguments, **more)

    monkeypatch.setattr(torch.nn.functional, "layer_norm", layer_norm)
    outputs = []
    learning.forward = lambda *inputs: outputs.append(learning.network(*inputs)) or outputs[-1]
    loss, _ = told(learning, batch(classes=3))
    modules = dict(learning.network.named_modules())
    for name, types in found.items():
        reduced = type(modules[name]) in REDUCED
        assert types == {torch.bfloat16 if reduced else torch.float32}, name
    assert any(type(modules[name]) in REDUCED for name in found) and len(found) > 8
    assert set(norms) <= {torch.float32} and bool(norms) == (model == "dit-ti/4")
    assert loss.dtype == outputs[0].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in learning.network.parameters())


@pytest.mark.parametrize("model", MODELS)
def test_gradients_in_bf16_are_near_those_in_fp32(model):
    """Rounding to 8 bits errs by up to 2^-9 of a number, at random: some ten products in a row stay below 3 %.

    A layer that computed its statistics in bf16 would also move the *mean* of what follows, which does not average out.
    """
    exact, rounded = (gradients(awake(recipe(model, 3, precision=p)), batch(classes=3)) for p in ("fp32", "bf16"))
    a, b = (torch.cat([g.flatten() for g in found.values()]) for found in (exact, rounded))
    off = float((a - b).norm() / a.norm())
    assert 2**-12 < off < 2**-9 * math.sqrt(10) * 5, off  # not equal: bf16 did compute


@pytest.fixture
def _nothing_stays_compiled():
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_nothing_stays_compiled")
def test_compiled_networks_give_the_same_gradients():
    compiled, plain = (awake(recipe("dit-ti/4", 3)) for _ in range(2))
    assert compile_passes(compiled, "aot_eager") == "denoise run compiled"
    assert compiled.forward is not compiled.network
    a, b = (gradients(learning, batch(classes=3)) for learning in (compiled, plain))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_nothing_stays_compiled")
def test_a_compiler_that_errs_is_given_up():
    def wrong(graph, inputs):
        return lambda *values: [v * 1.1 if v.is_floating_point() else v for v in graph(*values)]

    learning = awake(recipe("dit-ti/4", 3))
    assert "--compile does not work here (its gradients of denoise are" in compile_passes(learning, wrong)
    assert learning.forward is learning.network


def test_the_trial_holds_for_rounding():
    """The bound with which a changed network is tried: bf16 stays within its own margin of fp32."""
    learning = awake(recipe("dit-ti/4", 3, precision="bf16"))
    usual = trial.gradients(learning)
    learning.network.set_precision("fp32")
    exact = trial.gradients(learning)
    trial._compare(usual, usual, exact, SLACK["bf16"])
    (gradient,) = usual.values()
    with pytest.raises(ValueError, match="% off"):
        trial._compare({"denoise": gradient * (1 + MARGIN / 10)}, usual, exact, SLACK["bf16"])
