import pytest

from metrics.catalog import parse, parse_list


@pytest.mark.parametrize(
    ("name", "kind", "eye", "fakes", "reals"),
    [
        ("fid50k_full", "fid", "inception", 50_000, None),
        ("fid50k", "fid", "inception", 50_000, 50_000),
        ("fid5k", "fid", "inception", 5_000, 5_000),
        ("fid500_full", "fid", "inception", 500, None),
        ("kid50k_full", "kid", "inception", 50_000, None),
        ("kid10k", "kid", "inception", 10_000, 10_000),
        ("pr50k3_full", "pr", "vgg16", 50_000, 200_000),
        ("pr50k3", "pr", "vgg16", 50_000, 50_000),
        ("is50k", "is", "inception classes", 50_000, 50_000),
        ("fd_dinov2", "fd", "dinov2", 50_000, None),
        ("fd5k_dinov2", "fd", "dinov2", 5_000, None),
        ("swd", "swd", "patches", 16_384, 16_384),
        ("swd5k", "swd", "patches", 5_000, 5_000),
    ],
)
def test_names_say_what_is_compared(name, kind, eye, fakes, reals):
    metric = parse(name)
    assert (metric.kind, metric.eye, metric.samples, metric.reals) == (kind, eye, fakes, reals)


@pytest.mark.parametrize(
    ("name", "space", "full", "crop", "count"),
    [
        ("ppl2_wend", "w", False, False, 50_000),
        ("ppl2_wend5k", "w", False, False, 5_000),
        ("ppl_zfull", "z", True, True, 50_000),
        ("ppl_wfull", "w", True, True, 50_000),
        ("ppl_zend", "z", False, True, 50_000),
        ("ppl_wend", "w", False, True, 50_000),
    ],
)
def test_names_of_path_lengths(name, space, full, crop, count):
    metric = parse(name)
    assert (metric.kind, metric.eye, metric.space, metric.full) == ("ppl", "lpips", space, full)
    assert (metric.crop, metric.samples) == (crop, count)


def test_the_neighbor_follows_the_k():
    assert (parse("pr50k3").neighbors, parse("pr10k5_full").neighbors) == (3, 5)


def test_results_and_which_way_is_better():
    assert parse("pr50k3_full").results == ("pr50k3_full_precision", "pr50k3_full_recall")
    assert parse("is50k").results == ("is50k_mean", "is50k_std")
    assert parse("fid50k_full").results == ("fid50k_full",)
    names = ("fid5k", "kid5k", "ppl2_wend", "swd", "pr5k3", "is5k")
    assert [name for name in names if not parse(name).lower_is_better] == ["pr5k3", "is5k"]


@pytest.mark.parametrize(
    ("name", "count", "other"),
    [
        ("fid50k_full", 1234, "fid1k_full"),
        ("fid50k_full", 321, "fid321_full"),
        ("kid50k", 2000, "kid2k"),
        ("pr50k3_full", 5999, "pr5k3_full"),
        ("pr50k3", 500, "swd500"),
        ("is50k", 40, "is40"),
        ("fd_dinov2", 7000, "fd7k_dinov2"),
        ("swd", 700, "swd700"),
    ],
)
def test_names_for_fewer_images_are_names(name, count, other):
    assert parse(name).with_samples(count) == other
    assert parse(other).samples <= count


OTHER = ["", "fid", "fidd50k", "fid50m", "fid050k", "pr50k", "ppl2_zend", "swd-5", "FID50k", "fid50k_full "]


@pytest.mark.parametrize("name", OTHER)
def test_refuses_other_names(name):
    with pytest.raises(ValueError) as error:
        parse(name)
    assert str(error.value) == (
        f"there is no metric {name!r}: take some of fid50k_full, kid50k_full, pr50k3_full, is50k, fid50k, kid50k, "
        f"pr50k3, ppl2_wend, fd_dinov2, swd, swd5k, ppl_zfull, ppl_wfull, ppl_zend, ppl_wend; "
        f"their numbers may be changed, as in fid5k_full"
    )


def test_refuses_numbers_that_mean_nothing():
    for name in ("fid1", "swd1", "kid99999k"):
        with pytest.raises(ValueError, match="expected 2 to 10000k"):
            parse(name)


def test_lists():
    assert [metric.name for metric in parse_list("fid5k, swd5k")] == ["fid5k", "swd5k"]
    assert parse_list("none") == []
    with pytest.raises(ValueError, match=r"^the metric swd is given twice: give it once$"):
        parse_list("swd,fid5k,swd")
