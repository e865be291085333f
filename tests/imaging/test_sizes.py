from collections import Counter

import pytest

from imaging.sizes import advise, check_area, parse_size, spell, usual_size


def test_spelling_and_reading():
    assert spell(64, 96) == "96x64"
    assert parse_size("96x64") == (64, 96)
    assert parse_size("128") == (128, 128)
    for text in ("", "x", "64x", "0", "-4", "64x64x64", "64 x 64", "1e3"):
        with pytest.raises(ValueError, match="is not a size: write WIDTHxHEIGHT such as 96x64"):
            parse_size(text)


def test_sizes_that_would_not_fit_in_memory():
    check_area(5000, 10000)
    with pytest.raises(ValueError) as error:
        check_area(65536, 65536)
    assert str(error.value) == (
        "65536x65536 is 4295 megapixels, but at most 50 are accepted: take a smaller size, such as 1024x1024"
    )


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("136x128", "128x128"),
        ("1000x1000", "1024x1024"),
        ("250x250", "256x256"),
        ("178x218", "128x128"),
        ("1280x720", "1024x576"),
        ("640x480", "512x384"),
        ("480x640", "384x512"),
        ("6000x4000", "768x512"),
        ("100x100", "96x96"),
        ("7x7", "6x6"),
        ("3x3", "6x6"),
        ("28x28", "24x24"),
        ("512x384", "512x384"),
        ("4096x4096", "1024x1024"),
        ("5000x2", "24x8"),
    ],
)
def test_usual_sizes(given, usual):
    assert spell(*usual_size(*parse_size(given))) == usual


@pytest.mark.parametrize(
    ("sizes", "advised"),
    [
        ({"4096x4096": 3, "256x256": 3}, "256x256 (6 of 6 are at least 256x256)"),
        ({"4096x4096": 9, "256x256": 1}, "512x512 (9 of 10 are at least 512x512)"),
        ({"4000x3000": 5, "3000x4000": 5}, "512x512 (10 of 10 are at least 512x512)"),
        ({"4000x3000": 9, "3000x4000": 1}, "512x384 (10 of 10 are at least 512x384)"),
        ({"64x64": 1203, "20x20": 229}, "64x64 (1,203 of 1,432 are at least 64x64)"),
        ({"70x64": 600, "65x80": 603, "20x20": 229}, "64x64 (1,203 of 1,432 are at least 64x64)"),
        ({"136x128": 4}, "136x128 (4 of 4 are at least 136x128)"),
        ({"12x8": 1, "40x30": 1, "32x32": 2}, "32x32 (2 of 4 are at least 32x32)"),
        ({"1024x1024": 9, "5000x4000": 1}, "1024x1024 (10 of 10 are at least 1024x1024)"),
        ({"2x5000": 1, "5000x2": 1, "3x3": 1}, "6x6 (0 of 3 are at least 6x6)"),
    ],
)
def test_the_advice_for_a_set_is_a_size_that_most_of_its_images_reach(sizes, advised):
    advice = advise(Counter({parse_size(size): count for size, count in sizes.items()}))
    assert f"{advice} {advice.note}" == advised
