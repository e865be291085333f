import shlex

import numpy as np
import pytest
from pydantic import Field

from imaging.dataset import DataConfig, choose, open_dataset
from tests.imaging.pictures import encoded, index, picture, png_header, write_folder, write_zip

NAMES = [f"{i}.png" for i in range(6)]
FILES = {name: picture(32, 16, seed=i) for i, name in enumerate(NAMES)}


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


def failure(path, kind=ValueError, **options):
    with pytest.raises(kind) as error:
        opened(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_set_of_pictures(tmp_path, write):
    dataset = opened(write(tmp_path / "My pets.zip", FILES))
    assert (dataset.height, dataset.width, dataset.channels) == (16, 32, 3)
    assert len(dataset) == 6 and dataset.classes == 0 and dataset.notes == ()
    assert dataset.name.startswith("My-pets")
    for i in range(6):
        pixels, label = dataset[i]
        assert label == 0 and pixels.dtype == np.uint8
        assert np.array_equal(pixels, np.asarray(picture(32, 16, seed=i)).transpose(2, 0, 1))


def test_labels_and_their_counts(tmp_path):
    labels = index([[name, i % 2 * 2] for i, name in enumerate(NAMES)])
    path = write_zip(tmp_path / "a.zip", FILES | {"dataset.json": labels})
    dataset = opened(path, mirror=True)
    assert dataset.classes == 3 and dataset.label_counts.tolist() == [6, 0, 6]
    assert dataset.label_counts.dtype == np.int64
    assert [dataset[i][1] for i in range(12)] == [0, 2] * 6
    assert opened(path, labels="none").classes == 0


def test_mirrored_items_follow_the_originals(tmp_path):
    dataset = opened(write_zip(tmp_path / "a.zip", FILES), mirror=True)
    assert len(dataset) == 12
    assert all(np.array_equal(dataset[i + 6][0], dataset[i][0][:, :, ::-1]) for i in range(6))
    with pytest.raises(IndexError):
        dataset[12]


def test_a_part_of_the_set_is_always_the_same_part(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES | {"dataset.json": index([[n, i] for i, n in enumerate(NAMES)])})
    shuffled = np.arange(6)
    np.random.RandomState(0).shuffle(shuffled)
    expected = sorted(shuffled[:3].tolist())
    dataset = opened(path, max_images=3)
    assert [dataset[i][1] for i in range(3)] == expected and dataset.classes == 6
    assert choose(6, 0).tolist() == choose(6, 6).tolist() == choose(6, 99).tolist() == list(range(6))


def test_equal_fingerprints_mean_equal_items(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES)
    copy = write_zip(tmp_path / "b.zip", FILES)
    base = opened(path).fingerprint
    assert opened(copy).fingerprint == base and len(base) == 64
    others = [opened(path, mirror=True), opened(path, max_images=3)]
    others.append(opened(write_zip(tmp_path / "c.zip", FILES | {"2.png": picture(32, 16, seed=99)})))
    others.append(opened(write_zip(tmp_path / "d.zip", FILES | {"dataset.json": index([[n, 0] for n in NAMES])})))
    assert len({base, *(each.fingerprint for each in others)}) == 5


@pytest.mark.parametrize(
    ("modes", "channels", "note"),
    [
        (["L"], 1, None),
        (["L", "RGB", "RGB"], 3, "the set mixes 1 gray and 2 RGB images: all are read as RGB"),
    ],
)
def test_the_richest_mode_is_taken_for_all(tmp_path, modes, channels, note):
    files = {f"{i}.png": picture(mode=mode, seed=i) for i, mode in enumerate(modes)}
    dataset = opened(write_zip(tmp_path / "a.zip", files))
    assert dataset.channels == channels and dataset.notes == ((note,) if note else ())
    assert all(dataset[i][0].shape == (channels, 16, 16) for i in range(len(dataset)))


def test_differing_sizes_come_with_the_command_that_mends_them(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES | {"9.png": picture(100, 90)})
    count = len(FILES) + 1
    assert failure(path) == (
        f"{path} holds images of different sizes, such as 32x16 (0.png) and 100x90 (9.png): make them one size with "
        f"`python dataset_tool.py --source {path} --dest a-32x16.zip --resolution 32x16` ({count} of {count} are at "
        f"least 32x16)"
    )


@pytest.mark.parametrize(("name", "stem"), [("my pets; 2", "my pets- 2"), ("v1.2", "v1.2"), ("it's", "it-s")])
def test_the_command_can_be_pasted_whatever_the_path_is(tmp_path, monkeypatch, name, stem):
    path = write_folder(tmp_path / name, FILES | {"9.png": picture(100, 90)})
    command = shlex.split(failure(path).split("`")[1])
    dest = f"{stem}-32x16.zip"
    assert command[2:] == ["--source", str(path), "--dest", dest, "--resolution", "32x16"]
    monkeypatch.chdir(path)
    assert shlex.split(failure(".").split("`")[1])[2:6] == ["--source", ".", "--dest", f"../{dest}"]


def test_any_one_size_opens_and_names_the_command_that_makes_another(tmp_path):
    dataset = open_dataset(DataConfig(path=str(write_folder(tmp_path / "set", {"a.png": picture(7, 5)}))))
    assert dataset[0][0].shape == (3, 5, 7)
    command = f"python dataset_tool.py --source {tmp_path / 'set'} --dest set-8x8.zip --resolution 8x8"
    assert dataset.resized(8, 8) == f"make them 8x8 with `{command}`"


def remedy(path):
    return f"remove it, or leave out all broken ones with `python dataset_tool.py --source {path} --dest a-clean.zip`"


def test_bombs_are_refused_when_the_set_is_opened(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES | {"bomb.png": png_header(30000, 30000)})
    assert failure(path) == (
        f"bomb.png in {path} has 30000x30000 = 900 megapixels, more than the 500 megapixels that are accepted: "
        f"make it smaller; {remedy(path)}"
    )


def test_a_picture_broken_in_its_middle_is_named_when_it_is_read(tmp_path):
    whole = encoded(picture(32, 16))
    path = write_zip(tmp_path / "a.zip", FILES | {"3.png": whole[: len(whole) // 2]})
    dataset = opened(path)
    assert dataset[2][0].shape == dataset[4][0].shape == (3, 16, 32)
    with pytest.raises(ValueError) as error:
        dataset[3]
    assert str(error.value) == f"3.png in {path} cannot be decoded: image file is truncated; {remedy(path)}"


def test_a_picture_that_changed_its_size_since(tmp_path):
    path = write_folder(tmp_path / "set", FILES)
    dataset = opened(path)
    (path / "1.png").write_bytes(encoded(picture(16, 16)))
    with pytest.raises(ValueError, match=r"1\.png in .* has changed its size since the set was opened"):
        dataset[1]


def test_a_folder_called_demo_can_be_reached(tmp_path, monkeypatch):
    write_folder(tmp_path / "demo", FILES)
    monkeypatch.chdir(tmp_path)
    assert len(opened("./demo")) == 6 and len(opened("demo")) == 8192


def test_a_second_set_has_flags_of_its_own():
    class Styles(DataConfig):
        path: str = Field("demo:16", json_schema_extra={"flag": "--styles", "group": "Data"})
        mirror: bool = False

    assert open_dataset(Styles()).width == 16 and Styles.model_fields["path"].json_schema_extra["flag"] == "--styles"
    assert Styles.model_fields["labels"].json_schema_extra["flag"] == "--labels"
