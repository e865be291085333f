"""The presets against the published table."""

import pytest

from models.family import Shape
from training.course import Asked
from training.stylegan2.config import resolve
from training.stylegan2.course import settle


def config(preset, size, world=1, classes=0, images=None, **given):
    data = {"height": size, "width": size, "channels": 3, "classes": classes}
    return resolve(preset, data, given, world, images)


@pytest.mark.parametrize(
    "preset, size, world, expected",
    [  # batch, images at once, group, channel base, learning rate, gamma, EMA kimg, ramp, mapping layers, kimg
        ("stylegan2", 1024, 8, (32, 4, 4, 32768, 0.002, 10, 10, 0, 8, 25000)),
        ("paper256", 256, 8, (64, 8, 8, 16384, 0.0025, 1, 20, 0, 8, 25000)),
        ("paper512", 512, 8, (64, 8, 8, 32768, 0.0025, 0.5, 20, 0, 8, 25000)),
        ("paper1024", 1024, 8, (32, 4, 4, 32768, 0.002, 2, 10, 0, 8, 25000)),
        ("cifar", 32, 2, (64, 32, 32, 32768, 0.0025, 0.01, 500, 0.05, 2, 100000)),
        ("auto", 32, 1, (32, 32, 4, 16384, 0.0025, 0.0064, 10, 0.05, 2, 25000)),
        ("auto", 64, 1, (32, 32, 4, 16384, 0.0025, 0.0256, 10, 0.05, 2, 25000)),
        ("auto", 128, 1, (32, 32, 4, 16384, 0.0025, 0.1024, 10, 0.05, 2, 25000)),
        ("auto", 256, 1, (16, 16, 4, 16384, 0.0025, 0.8192, 5, 0.05, 2, 25000)),
        ("auto", 512, 1, (8, 8, 4, 32768, 0.0025, 6.5536, 2.5, 0.05, 2, 25000)),
        ("auto", 1024, 1, (4, 4, 4, 32768, 0.002, 52.4288, 1.25, 0.05, 2, 25000)),
        ("full", 256, 1, (16, 16, 4, 16384, 0.0025, 0.8192, 5, 0.05, 2, 25000)),
        ("auto", 256, 8, (64, 8, 4, 16384, 0.0025, 0.2048, 20, 0.05, 2, 25000)),
        ("auto", 512, 8, (64, 8, 4, 32768, 0.0025, 0.8192, 20, 0.05, 2, 25000)),
        ("auto", 1024, 8, (32, 4, 4, 32768, 0.002, 6.5536, 10, 0.05, 2, 25000)),
    ],
)
def test_the_table(preset, size, world, expected):
    c = config(preset, size, world)
    found = (
        c.pace.batch,
        c.pace.batch_gpu,
        c.discriminator.mbstd_group,
        c.generator.channel_base,
        c.optimizer.g_lr,
        c.loss.gamma,
        c.average.kimg,
        c.average.ramp,
        c.generator.mapping_layers,
        c.pace.kimg,
    )
    assert found == pytest.approx(expected)
    assert c.generator.channel_max == c.discriminator.channel_max == 512
    assert c.discriminator.channel_base == c.generator.channel_base and c.optimizer.d_lr == c.optimizer.g_lr
    assert (c.optimizer.beta1, c.optimizer.beta2, c.optimizer.epsilon) == (0.0, 0.99, 1e-8)
    assert (c.optimizer.g_interval, c.optimizer.d_interval, c.average.w_beta) == (4, 16, 0.995)


@pytest.mark.parametrize(
    "size, base, gamma", [(32, 1024, 1.024), (64, 2048, 4.096), (256, 2048, 65.5), (512, 4096, 262)]
)
def test_small_networks(size, base, gamma):
    c = config("small", size, images=1000)
    for network in (c.generator, c.discriminator):
        assert (network.channel_base, network.channel_max, network.mapping_layers) == (base, 128, 2)
    assert (c.generator.z_dim, c.generator.w_dim, c.pace.batch, c.loss.kind) == (128, 128, 8, "rpgan")
    assert c.loss.gamma == pytest.approx(gamma, rel=1e-3) and c.augment.mode == "ada"
    assert config("small", size, world=2).pace.batch_gpu == 8


BASES = {"small": 1024, "auto": 16384, "full": 16384, "stylegan2": 32768}


@pytest.mark.parametrize(
    "preset, device, transfer, expected",
    [
        ("auto", "cpu", False, "small"),
        ("auto", "mps", False, "small"),
        ("auto", "cpu", True, "auto"),
        ("auto", "cuda", False, "auto"),
        ("full", "cpu", False, "full"),
        ("stylegan2", "cpu", False, "stylegan2"),
    ],
)
def test_without_a_gpu_auto_is_small(preset, device, transfer, expected):
    found, notes = settle(Asked(preset, Shape(32, 32, 3, 0), {"device": device}, images=10**6, transfer=transfer))
    assert found.preset == expected and found.generator.channel_base == BASES[expected]
    assert [note.partition(":")[0] for note in notes] == (["--preset small"] if expected == "small" else [])


def test_cifar_goes_without_path_lengths_mixing_and_residuals():
    c = config("cifar", 32)
    assert (c.loss.path_weight, c.loss.mixing, c.discriminator.architecture) == (0, 0, "plain")
    assert config("auto", 32).discriminator.architecture == "residual"


@pytest.mark.parametrize(
    "preset, images, given, mode",
    [
        ("auto", 1000, {}, "ada"),
        ("auto", 50_000, {}, "ada"),
        ("auto", 50_001, {}, "none"),
        ("auto", None, {}, "none"),
        ("auto", 1000, {"augment.mode": "none"}, "none"),
        ("auto", 10**6, {"augment.mode": "ada"}, "ada"),
        ("cifar", 50_000, {}, "ada"),
        ("demo", 1000, {}, "none"),
        *((name, 1000, {}, "none") for name in ("stylegan2", "paper256", "paper512", "paper1024")),
    ],
)
def test_augmentation_by_default(preset, images, given, mode):
    found = config(preset, 32, images=images, **given).augment
    assert (found.mode, found.pipe, found.p, found.target, found.ada_kimg) == (mode, "bgc", 0, 0.6, 500)
    assert found.interval == 4


def test_with_another_batch_what_auto_derives_from_it_follows():
    c = config("auto", 64, **{"pace.batch": 8})
    assert c.loss.gamma == pytest.approx(0.0002 * 64**2 / 8)
    assert c.average.kimg == pytest.approx(2.5)
    assert c.pace.batch_gpu == 8


def test_what_is_given_goes_before_the_preset():
    c = config("auto", 64, **{"pace.batch": 8, "loss.gamma": 3.0, "generator.channel_base": 64})
    assert (c.loss.gamma, c.generator.channel_base, c.discriminator.channel_base) == (3.0, 64, 16384)


def test_the_group_divides_the_images_at_once():
    assert config("auto", 384).discriminator.mbstd_group == 2  # batch 10
    assert config("stylegan2", 256, **{"pace.batch_gpu": 1}).discriminator.mbstd_group == 1


def test_a_paper_preset_on_one_process_accumulates():
    c = config("paper256", 256)
    assert (c.pace.batch, c.pace.batch_gpu) == (64, 8)


def test_fp16_limits_the_convolutions():
    c = config("auto", 64, precision="fp16")
    assert c.generator.clamp == c.discriminator.clamp == 256
    assert config("auto", 64, precision="bf16").generator.clamp == 0


@pytest.mark.parametrize(
    "given, world, message",
    [
        (
            {"pace.batch": 10, "pace.batch_gpu": 4},
            1,
            "--batch-gpu 4 does not divide the 10 images that a process has of --batch 10: take 2",
        ),
        ({"pace.batch": 9}, 2, "--batch 9 is not a multiple of the 2 processes: give each the same share"),
        ({"discriminator.mbstd_group": 3}, 1, "--batch-gpu 32 is not a multiple of the minibatch-std group"),
        ({"loss.gamma": -1.0}, 1, "--gamma"),
    ],
)
def test_refuses(given, world, message):
    with pytest.raises(ValueError) as error:
        config("auto", 64, world, **given)
    assert message in str(error.value)
