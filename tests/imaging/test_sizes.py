import pytest

from imaging.sizes import base_size, nearest_size, parse_size, spell

VALID = {
    (base_height * 2**n, base_width * 2**n)
    for base_height in range(3, 86)
    for base_width in range(3, 256 // base_height + 1)
    for n in range(1, 9)
}


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1024, 1024, (4, 4, 8)),
        (384, 512, (3, 4, 7)),
        (96, 96, (3, 3, 5)),
        (16, 16, (4, 4, 2)),
        (6, 6, (3, 3, 1)),
        (32, 32, (4, 4, 3)),
    ],
)
def test_known_sizes(height, width, expected):
    assert base_size(height, width) == expected


def test_a_base_that_would_be_too_large_is_refused():
    with pytest.raises(ValueError, match="the nearest size that works is 1280x704"):  # 1280x720: base 80x45
        base_size(720, 1280)


def test_every_small_size_is_accepted_exactly_when_some_valid_base_doubles_to_it():
    for height in range(1, 50):
        for width in range(1, 50):
            if (height, width) in VALID:
                base_height, base_width, n = base_size(height, width)
                assert (base_height * 2**n, base_width * 2**n) == (height, width)
                halves = (base_height / 2, base_width / 2)
                assert any(side < 3 or side != int(side) for side in halves), "n is not the largest"
            else:
                with pytest.raises(ValueError):
                    base_size(height, width)


def test_nearest_size_is_the_nearest_of_all():
    def distance(size, height, width):
        return (size[0] - height) ** 2 + (size[1] - width) ** 2

    for height, width in [(7, 7), (1, 1), (5, 300), (333, 7), (97, 95), (100, 100), (250, 130), (31, 31), (0, 0)]:
        best = min(distance(size, height, width) for size in VALID)
        found = nearest_size(height, width)
        assert found in VALID
        assert distance(found, height, width) == best


def test_a_valid_size_is_its_own_nearest():
    assert all(nearest_size(*size) == size for size in sorted(VALID)[::97])


def test_large_photographs():
    assert nearest_size(1000, 1000) == (1024, 1024)
    assert nearest_size(1080, 1920) == (1024, 1920)


def test_the_message_spells_width_first_and_names_the_nearest_size():
    with pytest.raises(ValueError) as error:
        base_size(7, 15)
    assert str(error.value) == (
        "a network cannot have the size 15x7: a size must come from a small one (3x3 to 16x16, or as many pixels) by "
        "doubling both sides, as 512x384 comes from 4x3; the nearest size that works is 16x8"
    )


@pytest.mark.parametrize("size", [(65536, 65536), (999999, 999999), (8192, 6145), (999999, 51), (7071, 7071)])
def test_sizes_that_would_eat_all_memory_come_with_one_that_does_not(size):
    with pytest.raises(ValueError) as error:
        base_size(*size)
    assert size[0] * size[1] < 50e6 or "megapixels, and at most 50 are accepted: take a smaller size" in str(
        error.value
    )
    height, width = nearest_size(*size)
    assert base_size(height, width) and height * width <= 50e6


def test_the_message_about_too_large_a_size():
    with pytest.raises(ValueError) as error:
        base_size(65536, 65536)
    assert str(error.value) == (
        "65536x65536 are 4295 megapixels, and at most 50 are accepted: take a smaller size, such as 4096x4096"
    )


def test_spelling_and_reading():
    assert spell(64, 96) == "96x64"
    assert parse_size("96x64") == (64, 96)
    assert parse_size("128") == (128, 128)
    for text in ("", "x", "64x", "0", "-4", "64x64x64", "64 x 64", "1e3"):
        with pytest.raises(ValueError, match="is not a size: write WIDTHxHEIGHT such as 96x64"):
            parse_size(text)
