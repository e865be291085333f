import zipfile

import numpy as np
import pytest
import torch

from models.stylegan2.latents import Latents, load_latents, save_ws
from models.stylegan2.sampler import StyleSampler
from tests.networks import tiny_generator

GIVE = "give a projected-w.npz of project.py"


@pytest.fixture(scope="module", name="G")
def tiny():
    return tiny_generator()


def _maps(G, count, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 1, *layer.noise.fixed.shape, generator=draws) for layer in G.synthesis.layers]


def test_what_is_saved_is_what_is_loaded(tmp_path, G):
    ws = torch.randn(2, 6, 8)
    save_ws(tmp_path / "a.npz", ws)
    plain = load_latents(tmp_path / "a.npz", G)
    assert torch.equal(plain.ws, ws) and plain.maps is None
    maps = _maps(G, 2)
    save_ws(tmp_path / "b.npz", ws, maps)
    found = load_latents(tmp_path / "b.npz", G)
    assert torch.equal(found.ws, ws)
    assert all(torch.equal(a, b) for a, b in zip(found.maps, maps, strict=True))
    assert sorted(np.load(tmp_path / "b.npz").files) == ["noise0", "noise1", "noise2", "noise3", "noise4", "w"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("shape", "count"), [((3, 6, 8), 3), ((6, 8), 1), ((2, 8), 2)])
def test_shapes_and_types_of_other_programs(tmp_path, G, shape, count, dtype):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype) / 8
    np.savez(tmp_path / "w.npz", w=values)
    np.savez_compressed(tmp_path / "packed.npz", w=values)
    np.save(tmp_path / "w.npy", np.asfortranarray(values.astype(np.dtype(dtype).newbyteorder(">"))))
    found = load_latents(tmp_path / "w.npz", G).ws
    for name in ("packed.npz", "w.npy"):
        assert torch.equal(load_latents(tmp_path / name, G).ws, found)
    assert found.shape == (count, 6, 8) and found.dtype == torch.float32
    expected = values if values.ndim == 3 else values[None] if shape == (6, 8) else values[:, None].repeat(6, axis=1)
    assert np.array_equal(found.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros([1, 6, 8])}, f"has no floating-point numbers under the key 'w': {GIVE}"),
        ({"w": np.zeros([1, 6, 8], dtype=int)}, f"has no floating-point numbers under the key 'w': {GIVE}"),
        ({"w": np.array([{}], dtype=object)}, f"is not a NumPy file of latents (.npz or .npy): {GIVE}"),
        ({"w": np.zeros([1, 5, 8])}, "holds w of the shape [1, 5, 8], and this network takes [N, 6, 8]"),
        ({"w": np.zeros([0, 6, 8])}, "holds w of the shape [0, 6, 8], and this network takes [N, 6, 8]"),
        (
            {"w": np.full([1, 6, 8], np.nan)},
            "holds a w that is infinite or not a number: project the picture anew",
        ),
        (
            {"w": np.zeros([1, 6, 8]), "noise0": np.zeros([2, 1, 4, 4])},
            "holds one of the shape [2, 1, 4, 4] as noise0, and with its w this network takes [1, 1, 4, 4]: "
            "give the network that it was projected with",
        ),
        (
            {"w": np.zeros([1, 6, 8]), "noise0": np.zeros([1, 1, 4, 4])},
            "holds none as noise1, and with its w this network takes [1, 1, 8, 8]: "
            "give the network that it was projected with",
        ),
        (
            {"w": np.zeros([1, 6, 8]), "noise0": np.full([1, 1, 4, 4], np.inf)},
            "holds a noise0 that is infinite or not a number: project the picture anew",
        ),
    ],
)
def test_files_that_are_refused(tmp_path, G, arrays, words):
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ValueError) as error:
        load_latents(tmp_path / "w.npz", G)
    assert str(error.value) == f"{tmp_path / 'w.npz'} {words}"


def test_no_file_and_no_archive(tmp_path, G):
    path = tmp_path / "w.npz"
    with pytest.raises(FileNotFoundError) as error:
        load_latents(path, G)
    assert str(error.value) == f"there is no file {path}: give a projected-w.npz that project.py wrote"
    save_ws(path, torch.zeros(1, 6, 8))
    whole = path.read_bytes()
    for damaged in (b"something", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError) as error:
            load_latents(path, G)
        assert str(error.value) == f"{path} is not a NumPy file of latents (.npz or .npy): {GIVE}"


def oversized(path):
    """144 MiB of zeros in little."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**18 * 3, 6, 8)})
        for _ in range(2**8 * 9):
            file.write(bytes(2**16))


def claiming(path):
    np.save(path, np.zeros([1, 6, 8], np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1, 6, 8), ", b"(10**9, 6, 8)")[:200])


@pytest.mark.parametrize(
    "write",
    [
        oversized,
        claiming,
        lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True),
        lambda path: path.write_bytes(b"\x93NUMPY\1\0\x76\0" + b"(" * 118),
        lambda path: path.write_bytes(b"\x93NUMPY\1\0\x76\0" + b"{'descr': '<f4', 'shape': (-1, 6, 8)".ljust(118)),
        lambda path: np.savez(path.open("wb"), w=np.array("text")),
    ],
    ids=["bomb", "claim", "pickle", "nested", "negative", "text"],
)
def test_files_that_are_more_or_less_than_they_seem(tmp_path, G, write):
    write(path := tmp_path / "w.npy")
    with pytest.raises(ValueError) as error:
        load_latents(path, G)
    assert str(error.value) == f"{path} is not a NumPy file of latents (.npz or .npy): {GIVE}"


def test_numbers_beyond_float32_are_infinite(tmp_path, G):
    np.save(tmp_path / "w.npy", np.full([6, 8], 1e300))
    with pytest.raises(ValueError, match="infinite or not a number"):
        load_latents(tmp_path / "w.npy", G)


def test_noise_of_its_own_for_each_picture(G):
    ws, maps = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1)), _maps(G, 3)
    latents = Latents(ws, maps)
    made, own = _pictures(G, latents), _pictures(G, Latents(ws, None))
    for n in range(3):
        assert not torch.equal(made[n], own[n])
        alone = _pictures(G, Latents(ws[n : n + 1], [noise[n : n + 1] for noise in maps]))
        assert torch.equal(made[n], alone[0])
    fixed = [layer.noise.fixed.expand(3, 1, -1, -1) for layer in G.synthesis.layers]
    assert all(torch.equal(a, b) for a, b in zip(_pictures(G, Latents(ws, fixed)), own, strict=True))


def _pictures(G, latents):
    sampler = StyleSampler(G)
    return list(sampler.sample(sampler.fitted(latents)))


@pytest.mark.parametrize(("start", "what"), [(b"", "an empty file"), (b"<!DOCTYPE html>", "a web page")])
def test_what_was_downloaded_in_the_place_of_latents(tmp_path, G, start, what):
    (path := tmp_path / "w.npz").write_bytes(start)
    with pytest.raises(ValueError) as error:
        load_latents(path, G)
    assert str(error.value) == f"{path} is {what}: {GIVE}"
