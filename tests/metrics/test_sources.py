import threading
import time

import pytest
import torch

from imaging.dataset import DataConfig, open_dataset
from metrics.sources import Pictures, Samples
from tests.commands import zipped
from tests.metrics.judging import CPU, Faces, samples

CUDA = torch.device("cuda", 0)


def test_a_sample_is_the_same_in_any_company():
    made = samples()
    whole = made.pixels(range(6))
    assert whole.dtype == torch.uint8 and whole.shape == (6, 3, 16, 16)
    for i in range(6):
        assert (made.pixels([i])[0].int() - whole[i].int()).abs().max() <= 1
    assert not torch.equal(samples(seed=1).pixels(range(6)), whole)


def test_noise_is_new_for_each_sample():
    made = samples()
    ws = made.map(made.latents([0], "z"), [0])
    first, again, other = (made.render(ws, [i]) for i in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=1e-3)


def test_on_a_gpu_the_noise_of_all_layers_is_one_draw_for_each_sample(monkeypatch):
    """What CUDA would do, on a CPU: a stream for each sample, cut into the layers' pictures in their order."""
    made = samples()
    monkeypatch.setattr(Samples, "device", CUDA)
    monkeypatch.setattr(made, "_stream", lambda device, purpose, i: (device, purpose, i))
    drawn, plain = [], torch.randn

    def randn(size, device, generator):
        drawn.append((size, device, generator))
        return plain(size, generator=torch.Generator().manual_seed(generator[2]))

    monkeypatch.setattr(torch, "randn", randn)
    noises = made._noises([4, 7, 4])
    total = sum(layer.noise.fixed.numel() for layer in made.G.synthesis.layers)
    assert drawn == [(total, CUDA, (CUDA, "noise", i)) for i in (4, 7, 4)]
    assert all(torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[1]) for noise in noises)
    flat = torch.cat([noise[1].flatten() / 0.2 for noise in noises])  # 0.2 is the strength of each
    torch.testing.assert_close(flat, plain(total, generator=torch.Generator().manual_seed(7)))
    assert [tuple(noise.shape[1:]) for noise in noises] == [(1, 4, 4), *[(1, 8, 8)] * 2, *[(1, 16, 16)] * 2]


def test_the_next_batch_is_read_while_one_is_looked_at():
    faces = Faces(count=12)
    pictures = Pictures(faces, CPU)
    batches = pictures.batches([[0, 1], [2, 3], [4, 5], [6, 7]])
    next(batches)
    until = time.monotonic() + 10
    while faces.reads < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert faces.reads == 4  # the second is there before it is asked for, and no more than that
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    with pytest.raises(ValueError, match="broken"):
        faces.read = broken
        list(pictures.batches([[0], [1]]))


def broken(index):
    raise ValueError("broken")


def test_classes_are_as_frequent_as_in_the_data():
    made = samples(counts=(300, 100, 0, 0, 0))
    seen = []
    made.G.mapping.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1].argmax(dim=1)))
    made.map(made.latents(range(400), "z"), range(400))
    counts = torch.bincount(seen[0], minlength=5).tolist()
    assert abs(counts[0] - 300) < 4 * (400 * 0.75 * 0.25) ** 0.5 and sum(counts[:2]) == 400


def test_without_labels_in_the_data_classes_are_even_and_other_classes_are_refused():
    assert samples(counts=()).thresholds.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"^the network has 5 classes, and the data have 3: give the data it learned"):
        samples(counts=(1, 2, 3))
    assert samples(classes=0, counts=(1, 2, 3)).pixels([0]).shape == (1, 3, 16, 16)


def test_pictures_come_in_the_order_that_is_asked_for(tmp_path):
    dataset = open_dataset(DataConfig(path=str(zipped(tmp_path / "set.zip")), mirror=True))
    pictures = Pictures(dataset, CPU)
    assert pictures.count == 16 and pictures.threads >= 1
    first, second, third = pictures.batches([[3, 1, 11], [0], [2, 2]])
    assert first[:, 0, 0, 0].tolist() == [60, 20, 60]
    assert [pixels[:, 0, 0, 0].tolist() for pixels in (second, third)] == [[0], [40, 40]]
    assert list(pictures.batches([])) == []
    assert Pictures(Faces(), CPU).threads == 1  # of shards and drawn sets only one picture at a time
