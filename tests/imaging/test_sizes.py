from collections import Counter

import pytest

from imaging.sizes import advise, base_size, near_size, nearest_size, parse_size, spell

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
    with pytest.raises(ValueError, match="a size near it that works is 1024x576"):  # 1280x720: base 80x45
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
        "doubling both sides, as 512x384 comes from 4x3; a size near it that works is 16x8"
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
        "65536x65536 are 4295 megapixels, and at most 50 are accepted: take a smaller size, such as 1024x1024"
    )


def test_spelling_and_reading():
    assert spell(64, 96) == "96x64"
    assert parse_size("96x64") == (64, 96)
    assert parse_size("128") == (128, 128)
    for text in ("", "x", "64x", "0", "-4", "64x64x64", "64 x 64", "1e3"):
        with pytest.raises(ValueError, match="is not a size: write WIDTHxHEIGHT such as 96x64"):
            parse_size(text)


@pytest.mark.parametrize(
    ("given", "advised"),
    [
        ("136x128", "128x128"),  # not 144x128, from a base of 9x8
        ("1000x1000", "1024x1024"),
        ("250x250", "256x256"),
        ("178x218", "128x128"),
        ("1280x720", "1024x576"),
        ("640x480", "512x384"),
        ("480x640", "384x512"),
        ("6000x4000", "768x512"),
        ("100x100", "96x96"),
        ("7x7", "8x8"),
        ("28x28", "28x28"),
        ("512x384", "512x384"),
        ("4096x4096", "1024x1024"),
        ("5000x2", "24x8"),
    ],
)
def test_sizes_that_a_person_would_train(given, advised):
    found = near_size(*parse_size(given))
    assert spell(*found) == advised and base_size(*found)


@pytest.mark.parametrize(
    ("sizes", "advised"),
    [
        ({"4096x4096": 3, "256x256": 3}, "256x256 (6 of 6 are at least 256x256)"),
        ({"4096x4096": 9, "256x256": 1}, "512x512 (9 of 10 are at least 512x512)"),
        ({"4000x3000": 5, "3000x4000": 5}, "512x512 (10 of 10 are at least 512x512)"),
        ({"4000x3000": 9, "3000x4000": 1}, "512x384 (10 of 10 are at least 512x384)"),
        ({"64x64": 1203, "20x20": 229}, "64x64 (1,203 of 1,432 are at least 64x64)"),
        ({"70x64": 600, "65x80": 603, "20x20": 229}, "64x64 (1,203 of 1,432 are at least 64x64)"),
        ({"136x128": 4}, "128x128 (4 of 4 are at least 128x128)"),
        ({"12x8": 1, "40x30": 1, "32x32": 2}, "32x32 (2 of 4 are at least 32x32)"),
        ({"1024x1024": 9, "5000x4000": 1}, "1024x1024 (10 of 10 are at least 1024x1024)"),
        ({"2x5000": 1, "5000x2": 1, "3x3": 1}, "6x6 (0 of 3 are at least 6x6)"),
    ],
)
def test_the_advice_for_a_set_is_a_size_that_most_of_its_images_reach(sizes, advised):
    advice = advise(Counter({parse_size(size): count for size, count in sizes.items()}))
    assert f"{advice} {advice.note}" == advised and base_size(advice.height, advice.width)
