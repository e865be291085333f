import threading
import time

import pytest
import torch

from imaging.dataset import DataConfig, open_dataset
from metrics.features import PictureFiles
from tests.commands import zipped
from tests.metrics.judging import CPU, Faces, samples


def test_a_sample_is_the_same_in_any_company():
    made = samples()
    (whole,) = made.batches([range(6)])
    assert whole.dtype == torch.uint8 and whole.shape == (6, 3, 16, 16)
    for i, alone in enumerate(made.batches([[i] for i in range(6)])):
        assert (alone[0].int() - whole[i].int()).abs().max() <= 1
    assert not torch.equal(next(samples(seed=1).batches([range(6)])), whole)


def test_noise_and_latents_are_new_for_each_sample():
    made = samples()
    (first, again), (other,) = made.requests([3, 3]), made.requests([3], "other end")
    sampler = made.sampler
    z = sampler.latents([first, again, *made.requests([4]), other])
    assert torch.equal(z[0], z[1]) and not torch.equal(z[0], z[2]) and not torch.equal(z[0], z[3])
    ws = sampler.map(z[:1], [first])
    image, same, next_one = (sampler.render(ws, [request]) for request in (first, other, *made.requests([4])))
    assert torch.equal(image, same) and not torch.allclose(image, next_one, atol=1e-3)


def test_the_next_batch_is_read_while_one_is_looked_at():
    faces = Faces(count=12)
    pictures = PictureFiles(faces, CPU)
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
    labels = torch.tensor([request.label for request in made.requests(range(400))])
    counts = torch.bincount(labels, minlength=5).tolist()
    assert abs(counts[0] - 300) < 4 * (400 * 0.75 * 0.25) ** 0.5 and sum(counts[:2]) == 400


def test_without_labels_in_the_data_classes_are_even_and_other_classes_are_refused():
    assert samples(counts=()).thresholds.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"^the network has 5 classes, but the data have 3: give the data that"):
        samples(counts=(1, 2, 3))
    (pixels,) = samples(classes=0, counts=(1, 2, 3)).batches([[0]])
    assert pixels.shape == (1, 3, 16, 16)


def test_pictures_come_in_the_order_that_is_asked_for(tmp_path):
    dataset = open_dataset(DataConfig(path=str(zipped(tmp_path / "set.zip")), mirror=True))
    pictures = PictureFiles(dataset, CPU)
    assert pictures.count == 16 and pictures.threads >= 1
    first, second, third = pictures.batches([[3, 1, 11], [0], [2, 2]])
    assert first[:, 0, 0, 0].tolist() == [60, 20, 60]
    assert [pixels[:, 0, 0, 0].tolist() for pixels in (second, third)] == [[0], [40, 40]]
    assert list(pictures.batches([])) == []
    assert PictureFiles(Faces(), CPU).threads == 1  # of shards and drawn sets only one picture at a time
