import numpy as np
import pytest
import torch

from models.perceptual.embeddings import pyramid_vectors
from models.stylegan2.projector import ProjectionSettings
from sampling.stylegan2.projection import FRAMES, Search, SearchFilm, spoken
from tests.networks import tiny_generator


def _pixels(count, channels=3, height=16, width=16):
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=draws)


def _frames(targets, steps):
    """The frames of a film whose picture at step s is all s."""
    film = SearchFilm(targets, steps)
    for step in range(steps):
        film.add(step, 0, torch.full(targets.shape, (step - 127.5) / 127.5))
    return list(film.frames())


@pytest.mark.parametrize(("steps", "shown"), [(1, [0]), (3, [0, 1, 2]), (240, list(range(1, 240, 2)))])
def test_a_film_shows_steps_at_equal_distances_and_the_last(steps, shown):
    targets = _pixels(1)
    frames = _frames(targets, steps)
    assert len(frames) == min(steps, FRAMES)
    assert [frame.getpixel((20, 5))[0] for frame in frames] == shown
    assert np.array_equal(np.asarray(frames[-1])[:, :16].transpose(2, 0, 1), targets[0])


def test_a_film_gets_targets_part_by_part():
    film = SearchFilm(_pixels(20), 1)
    for first, count in ((0, 12), (12, 8)):
        images = ((torch.arange(first, first + count) - 127.5) / 127.5)[:, None, None, None].expand(-1, 3, 16, 16)
        film.add(0, first, images)
    (frame,) = film.frames()
    assert frame.size == (6 * 16, 6 * 16)  # three pairs in a row; of 20 targets 16 are shown
    places = [(16 * (2 * (n % 3) + 1), 16 * (n // 3)) for n in range(16)]
    assert [frame.getpixel(place)[0] for place in places] == list(range(16))


def test_large_pictures_are_averaged_down_for_a_film():
    (frame,) = _frames(_pixels(1, height=520, width=260), 1)
    assert frame.size == (2 * 86, 173)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.2, "1 second"), (89, "89 seconds"), (100, "2 minutes"), (5000, "83 minutes"), (5400, "2 hours")),
        *((36 * 3600 - 1, "36 hours"), (36 * 3600, "2 days"), (86400 * 12.4, "12 days")),
    ],
)
def test_durations_are_one_round_number(seconds, words):
    assert spoken(seconds) == words


def test_an_estimate_changes_nothing():
    targets = torch.linspace(-1, 1, 3 * 3 * 256).reshape(3, 3, 16, 16)
    runs = [Search(tiny_generator(), targets, pyramid_vectors, ProjectionSettings(steps=2), 2, None) for _ in range(2)]
    assert runs[0].seconds_per_step() > 0 and runs[0].batches == 2
    for run in runs:
        assert [(step, first, len(images)) for step, first, images in run] == [
            (0, 0, 2),
            (1, 0, 2),
            (0, 2, 1),
            (1, 2, 1),
        ]
    for a, b in zip(*(run.latents for run in runs), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert torch.equal(runs[0].losses, runs[1].losses)


def test_a_loss_that_is_no_number_ends_the_run():
    run = Search(
        tiny_generator(),
        torch.zeros(1, 3, 16, 16),
        lambda images: pyramid_vectors(images) * float("inf"),
        ProjectionSettings(steps=3),
        1,
        None,
    )
    with pytest.raises(ValueError, match=r"^the loss is no number any more at step 1: take a smaller --rate$"):
        list(run)
