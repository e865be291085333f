import dataclasses
import json

import numpy as np
import pytest
import scipy.linalg
import torch

from metrics.catalog import parse
from metrics.distances import dealt, frechet_distance, gaussian, precision_recall, shared
from metrics.features import PictureFiles
from metrics.sliced_wasserstein import sliced_wasserstein
from system import resources
from system.resources import cache_folder
from tests.metrics.judging import CPU, EYES, SEVERAL, Faces, judge, pooled, samples, suite
from tests.processes import together
from torch_utils import distributed, seeds


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "FOLDER", str(tmp_path_factory.mktemp("cache")))
        return judge(*SEVERAL)


def _assert_close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-4), name


def test_results_have_the_names_of_their_metrics(results):
    assert list(results) == [
        "fid90_full", "kid90", "is60_mean", "is60_std", "swd60", "pr1k3_precision", "pr1k3_recall", "fid50",
    ]  # fmt: skip


def test_a_result_follows_from_features_of_the_named_numbers_of_pictures(results):
    """FID by hand: 90 samples against all 100 faces, with the square root of scipy."""
    faces, made = Faces(), samples()
    real = pooled(torch.stack([torch.from_numpy(faces[i][0]) for i in range(100)]), []).double().numpy()
    fake = pooled(next(made.batches([range(90)])), []).double().numpy()
    root = scipy.linalg.sqrtm(np.cov(real.T, bias=True) @ np.cov(fake.T, bias=True)).real
    traces = np.trace(np.cov(real.T, bias=True) + np.cov(fake.T, bias=True) - 2 * root)
    expected = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum() + traces
    assert results["fid90_full"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("batch", [1, 13, 200])
def test_nothing_depends_on_the_batch(results, batch):
    _assert_close(judge(*SEVERAL, batch=batch), results)


def test_nothing_depends_on_which_metrics_are_taken_together(results):
    assert judge("fid90_full")["fid90_full"] == pytest.approx(results["fid90_full"], rel=1e-6)
    assert judge("swd60")["swd60"] == pytest.approx(results["swd60"], rel=1e-6)


def test_another_seed_gives_other_samples(results):
    assert judge("fid90_full", source=samples(seed=1))["fid90_full"] != results["fid90_full"]


def test_pictures_of_the_data_are_perfect():
    source = PictureFiles(Faces(), CPU)
    found = judge("fid100_full", "swd100", "kid100", source=source)
    assert found["fid100_full"] == pytest.approx(0, abs=1e-8) and found["swd100"] == 0
    assert found["kid100"] < 0  # which is without bias: of a set and itself a little below 0


def test_permuted_halves_of_the_data_are_close_and_a_collapsed_generator_is_not():
    faces = Faces(count=400)
    whole = torch.stack([torch.from_numpy(faces[i][0]) for i in range(400)])
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    a, b = (pooled(whole[part], []) for part in order.chunk(2))
    collapsed = a[:1] + 0.001 * torch.randn(200, 48, generator=torch.Generator().manual_seed(1))
    near, far = (frechet_distance(gaussian(a), gaussian(x)) for x in (b, collapsed))
    assert near < far / 10
    (precision, recall), (collapsed_precision, collapsed_recall) = (precision_recall(a, x) for x in (b, collapsed))
    assert collapsed_precision == 1 and collapsed_recall < 0.05 < 0.5 < min(precision, recall)


def test_path_lengths_of_a_network_do_not_depend_on_the_batch():
    metrics = [dataclasses.replace(parse(name), samples=60) for name in ("ppl2_wend", "ppl_zfull")]
    whole, parts = (suite(metrics, batch=batch).evaluate(samples()) for batch in (60, 7))
    assert whole == pytest.approx(parts, rel=0.02)  # a step is small beside the rounding of float32
    assert min(whole.values()) > 0


@pytest.mark.parametrize("name", ["ppl2_wend", "ppl_wfull", "ppl_zend", "ppl_zfull"])
def test_path_lengths_by_hand(name):
    """With LPIPS as plain pixels: what the latents, noise, images, steps, crops and percentiles come to."""
    metric, made = dataclasses.replace(parse(name), samples=30), samples()
    found = suite([metric], batch=8).evaluate(made)[name]
    G, epsilon, lengths = made.sampler.G, 1e-4, []
    for i in range(30):
        draw = {
            what: seeds.generator("cpu", 0, "metrics", what, i) for what in ("z", "other end", "step", "class", "noise")
        }
        a, b = (torch.randn(1, 8, generator=draw[end]) for end in ("z", "other end"))
        t = float(torch.rand([], dtype=torch.float64, generator=draw["step"])) if "full" in name else 0.0
        label = int(torch.rand([], dtype=torch.float64, generator=draw["class"]) * 5)
        c = torch.eye(5)[[label]]
        noises = G.synthesis.noises(1, "random", draw["noise"])
        pictures = []
        for place in (t, t + epsilon):
            if "_w" in name:
                ws = torch.lerp(G.ws(a, c), G.ws(b, c), place)
            else:
                unit_a, unit_b = (end.double() / end.double().norm() for end in (a, b))
                angle = (unit_a * unit_b).sum().acos()
                z = (((1 - place) * angle).sin() * unit_a + (place * angle).sin() * unit_b) / angle.sin()
                ws = G.ws(z.float(), c)
            image = (G.synthesis.render(ws, noises) + 1) * 127.5
            pictures.append(image[:, :, 6:14, 4:12] if name.startswith("ppl_") else image)
        lengths.append(float(((pictures[0] - pictures[1]) / 255).double().square().sum()) / epsilon**2)
    kept = sorted(lengths)  # of 30 numbers the 1st and 99th percentile leave the outermost in
    assert found == pytest.approx(np.mean(kept), rel=0.05)  # a step is small beside the rounding of float32


def test_a_distance_without_a_scale_stands_beside_that_of_two_halves_of_the_data():
    """As many images in each half as the metric compares, none in both; kept on the disk."""
    faces, source = Faces(count=100), samples()
    metrics = [parse("swd40"), parse("fid90_full")]
    found = suite(metrics, faces).between_halves(source)
    order = [faces.index_at(0, place) for place in range(80)]
    halves = [sorted(order[:40]), sorted(order[40:])]
    assert not set(halves[0]) & set(halves[1])
    seen = [EYES["patches"](torch.stack([torch.from_numpy(faces[i][0]) for i in half]), half) for half in halves]
    assert found == {"swd40": pytest.approx(sliced_wasserstein(*seen), rel=1e-5)}
    faces.reads = 0
    again = suite(metrics, faces).between_halves(source)
    assert again == found and faces.reads == 0
    for path in (cache_folder() / "statistics").iterdir():
        path.write_bytes(b"damaged")
    again = suite(metrics, faces).between_halves(source)
    assert again == found and faces.reads == 80
    # Real pictures are as good as other real pictures, and samples of an untrained network are not.
    assert suite(metrics[:1], faces).evaluate(source)["swd40"] > 1.5 * found["swd40"]


def test_halves_of_few_images():
    (value,) = suite([parse("swd")], Faces(count=30)).between_halves(samples()).values()
    assert value > 0  # 15 and 15
    assert suite([parse("swd2")], Faces(count=3)).between_halves(samples()) == {}


def test_real_statistics_are_kept_and_serve_again(results):
    def reads(name, **more):
        faces = Faces(**more)
        found = judge(name, dataset=faces)
        return faces.reads, found[name]

    assert reads("fid90_full")[0] == 100
    count, value = reads("fid90_full")
    assert count == 0 and value == pytest.approx(results["fid90_full"], rel=1e-6)
    assert reads("kid90")[0] == 90  # features, of other pictures
    assert reads("fid90_full", mirror=True)[0] == 200  # another fingerprint
    kept = sorted((cache_folder() / "statistics").iterdir())
    assert len(kept) == 3
    for path in kept:
        path.write_bytes(path.read_bytes()[:-5])
    assert reads("fid90_full")[0] == 100  # a damaged file is as good as none
    assert reads("fid90_full")[0] == 0


def test_of_fewer_real_images_the_first_of_the_sets_own_shuffle_count():
    """Of shards these are few files; and of a set in order of classes, all classes."""
    faces = Faces()
    faces.index_at = lambda seed, position: {0: 90 - position}[seed]
    read = []
    faces.read = lambda index: read.append(index) or Faces.read(faces, index)
    judge("fid50", dataset=faces)
    assert read == list(range(41, 91))


def test_patches_are_compared_in_equal_numbers():
    faces = Faces(count=30)
    assert judge("swd", dataset=faces, source=PictureFiles(Faces(count=40, seed=1), CPU))["swd"] > 0
    assert faces.reads == 30


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        (
            "fid50k_full",
            PictureFiles(Faces(count=12), CPU),
            "fid50k_full needs 50000 images, but there are 12: take fid12_full, "
            "and compare it only with numbers of as many images",
        ),
        (
            "ppl2_wend",
            PictureFiles(Faces(count=12), CPU),
            "ppl2_wend measures steps of latents w, which only networks with styles have: leave this metric out",
        ),
        (
            "swd12",
            samples(channels=1),
            "swd compares equally many images of the same size and channels, but these differ from the data's "
            "(patches [12, 1, 128, 1, 7, 7] and [12, 1, 128, 3, 7, 7]): convert them with dataset_tool.py, or leave "
            "swd out",
        ),
    ],
)
def test_refusals(name, source, words):
    with pytest.raises(ValueError) as error:
        judge(name, source=source)
    assert str(error.value) == words


def test_two_processes_equal_one(results, tmp_path):
    together(_process, tmp_path)
    for rank in range(2):
        _assert_close(json.loads((tmp_path / f"{rank}.json").read_text()), results)


def _process(rank, folder):
    resources.FOLDER = str(folder / "cache")
    distributed.start("cpu")
    faces = Faces()
    found = judge(*SEVERAL, dataset=faces, batch=16)
    assert judge(*SEVERAL, dataset=faces, batch=16) == found  # from the disk, as far as it is kept
    several = suite([parse("swd30")], faces, 16)
    halves = several.between_halves(samples())
    assert several.between_halves(samples()) == halves
    assert rank or halves["swd30"] > 0
    shares = []
    whole = dealt(7, 2, lambda part: shares.append(part.start) or torch.arange(7.0)[part], torch.zeros([]))
    assert whole.tolist() == [0, 1, 2, 3, 4, 5, 6] and shares == ([0, 4] if rank == 0 else [2, 6])
    given = torch.arange(12).reshape(3, 4).half()
    assert torch.equal(shared(given if rank == 0 else None, CPU), given)
    assert float(shared(torch.tensor(2.5) if rank == 0 else None, CPU)) == 2.5
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.barrier()
    distributed.stop()
