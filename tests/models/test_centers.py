import pytest
import torch
from scipy.cluster.vq import kmeans2

from models.stylegan2.centers import draw_ws, find_centers, nearest
from models.stylegan2.mapping import truncate
from tests.networks import tiny_generator

D, L = 8, 6


def clusters(count=5, each=40, spread=0.05):
    """Points around far places, in no order: points [count * each, D], places [count, D], and whose they are."""
    draws = torch.Generator().manual_seed(3)
    places = torch.randn(count, D, generator=draws) * 5
    whose = torch.arange(count).repeat(each)
    return places[whose] + spread * torch.randn(len(whose), D, generator=draws), places, whose


def inertia(points, centers):
    return torch.cdist(points.double(), centers.double()).min(dim=1).values.square().sum().item()


def test_clusters_that_lie_apart_are_found_exactly():
    points, _, whose = clusters()
    means = torch.stack([points[whose == i].mean(dim=0) for i in range(5)])
    centers = find_centers(points, 5)
    assert centers.shape == (5, D) and centers.dtype == torch.float32
    torch.testing.assert_close(centers[torch.cdist(means, centers).argmin(dim=1)], means)


def test_centers_are_as_good_as_another_programs():
    points = torch.randn(500, D, generator=torch.Generator().manual_seed(0))
    reference, _ = kmeans2(points.double().numpy(), 12, iter=100, minit="++", seed=0)
    assert inertia(points, find_centers(points, 12)) < 1.03 * inertia(points, torch.from_numpy(reference))


def test_every_center_is_the_mean_of_what_is_nearest_to_it():
    points = torch.randn(300, D, generator=torch.Generator().manual_seed(1)).double()
    centers = find_centers(points, 7)
    cluster = torch.cdist(points, centers).argmin(dim=1)
    torch.testing.assert_close(torch.stack([points[cluster == i].mean(dim=0) for i in range(7)]), centers)


def test_centers_are_the_same_every_time_and_leave_the_random_state_alone():
    points, _, _ = clusters(spread=2)
    before = torch.get_rng_state()
    first = find_centers(points, 9)
    torch.manual_seed(5)
    assert torch.equal(find_centers(points, 9), first)
    torch.set_rng_state(before)
    find_centers(points, 9)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_center_is_the_mean_and_as_many_as_points_are_the_points():
    points = torch.randn(10, D, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(find_centers(points, 1), points.mean(dim=0, keepdim=True))
    centers = find_centers(points, 10)
    assert inertia(points, centers) == pytest.approx(0, abs=1e-9)


def test_points_that_are_all_alike_have_centers_too():
    centers = find_centers(torch.ones(10, D), 3)
    assert torch.equal(centers, torch.ones(3, D))


@pytest.mark.parametrize("count", [0, 11])
def test_more_centers_than_points_are_refused(count):
    with pytest.raises(ValueError) as error:
        find_centers(torch.ones(10, D), count)
    assert str(error.value) == f"{count} centers of 10 w: expected 1 to 10"


def test_the_nearest_is_that_of_the_least_sum_over_layers():
    draws = torch.Generator().manual_seed(4)
    ws, centers = torch.randn(20, L, D, generator=draws), torch.randn(7, D, generator=draws)
    sums = (ws[:, None] - centers[:, None]).square().sum(dim=(2, 3))  # [N, K]
    assert torch.equal(nearest(ws, centers), centers[sums.argmin(dim=1)])


@pytest.mark.parametrize("psi", [-0.5, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("cutoff", [None, 2])
def test_truncation_towards_centers_is_its_closed_form(psi, cutoff):
    points, places, whose = clusters(spread=0.3)
    ws = points[:, None].expand(-1, L, -1)
    wanted = ws.clone()
    count = L if cutoff is None else cutoff
    wanted[:, :count] = places[whose][:, None] + psi * (ws[:, :count] - places[whose][:, None])
    torch.testing.assert_close(truncate(ws, nearest(ws, places)[:, None], psi, cutoff), wanted, rtol=0, atol=1e-5)


def test_the_w_that_centers_are_found_from_are_those_of_the_class():
    G = tiny_generator(classes=3)
    drawn = [draw_ws(G, label, 2500) for label in range(3)]
    assert drawn[0].shape == (2500, 8) and torch.equal(draw_ws(G, 1, 2500), drawn[1])
    assert not torch.equal(drawn[0], drawn[1])
    plain = draw_ws(tiny_generator(), None, 10)
    assert plain.shape == (10, 8)
