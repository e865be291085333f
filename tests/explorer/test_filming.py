"""Films of the page: the bytes of interpolate.py, key frames with settings of their own, and what can go wrong."""

import errno
import io
import shlex
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pydantic import ValidationError
from starlette.testclient import TestClient

import interpolate
from explorer import filmroom
from explorer.filming import Preview, open_reel
from explorer.filmroom import DIED, FilmRoom, render
from explorer.keyframes import Film, film_command
from explorer.pagestate import PageState
from explorer.server import make_app
from explorer.studio import Asked, open_studio
from imaging.pixels import from_pil
from tests.explorer.test_server import HOST, OWN, PORT, TOKEN, Echo
from tests.networks import save_noisy, save_tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_process_of_its_own(monkeypatch):
    """Here `render` runs among the tests, whose priority and Ctrl-C must stay."""
    monkeypatch.setattr("explorer.workprocess.begin", lambda nice=0: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("films")
    save_tiny(place / "styles.safetensors", classes=3, class_names=("cat", "dog", "cow"))
    save_noisy(place / "noisy.safetensors", classes=3)
    return place


@pytest.fixture(scope="module")
def studios(folder):
    names = ("styles", "noisy")
    return {
        name: open_studio(str(folder / f"{name}.safetensors"), {}, CPU, "fp32", ("--device", "cpu")) for name in names
    }


def key(seed: int, **more) -> PageState:
    return PageState(seeds=((seed, 1.0),), **more)


def written(studio, film: Film, path: Path) -> bytes:
    """What the process writes."""
    told: list[dict] = []
    scene = studio.scene
    arguments: Any = (scene.place, {}, "cpu", "fp32", ())
    pipe: Any = SimpleNamespace(send=told.append)
    render(pipe, arguments, film, path)
    assert told[-1] == {"state": "done", "bytes": path.stat().st_size}, told
    assert [each["done"] for each in told[:-1]] == list(range(told[0]["count"]))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "more"),
    [
        ("styles", {"psi": 0.7}, {"frames": 3}),
        ("styles", {"noise_mode": "random"}, {"loop": False, "easing": "smooth", "fps": 12.5, "format": "gif"}),
        ("styles", {}, {"frames": 2, "scale": 3, "format": "webp"}),
        ("noisy", {"steps": 2}, {"frames": 2, "loop": False, "format": "webp"}),
    ],
)
def test_the_command_line_makes_the_bytes_of_the_film(studios, tmp_path, monkeypatch, name, options, more):
    studio = studios[name]
    film = Film(keys=[key(seed, label=1, options=options) for seed in (4, 7, 4)], **more)
    data = written(studio, film, tmp_path / "a" / film.file_name)
    python, script, *words = shlex.split(film_command(studio.scene, film))
    assert (python, script) == ("python", "interpolate.py")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(interpolate.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / film.file_name).read_bytes() == data


@pytest.mark.parametrize(
    "keys",
    [
        [key(1), PageState(seeds=((1, 0.8), (2, 0.6)))],
        [key(1), key(2, options={"psi": 0.5})],
        [key(1, label=0), key(2, label=1)],
        [key(1), PageState(seeds=((2, -1.0),))],
    ],
)
def test_other_films_have_no_command_line(studios, keys):
    assert film_command(studios["styles"].scene, Film(keys=keys)) == ""


@pytest.mark.parametrize("name", ["styles", "noisy"])
def test_key_frames_are_the_pictures_of_the_page(studios, name):
    settings = [{"psi": 0.5}, {"psi": 1.2, "psi_cutoff": 3}] if name == "styles" else [{"steps": 2}, {"steps": 2}]
    keys = [key(3, label=1, options=settings[0]), PageState(seeds=((4, 0.8), (9, 0.6)), label=2, options=settings[1])]
    studio, film = studios[name], Film(keys=keys, frames=4, loop=False)
    frames = [from_pil(frame) for frame in open_reel(studio, film).frames()]
    assert len(frames) == 5
    for frame, state in ((frames[0], keys[0]), (frames[-1], keys[1])):
        if name == "styles" or state is keys[0]:  # noise on the way and class are the first and the nearest key frame's
            exact = from_pil(Image.open(io.BytesIO(studio.exact(state).data)))
            assert np.array_equal(frame, exact)
    assert len({frame.tobytes() for frame in frames}) == 5


def test_a_preview_shows_single_frames(studios):
    studio, film = studios["styles"], Film(keys=[key(1, label=0), key(2, label=0)], frames=4, loop=False)
    preview, frames = Preview(), [from_pil(frame) for frame in open_reel(studio, film).frames()]
    for moment, frame in [(0, 0), (0.25, 1), (1, 4), (9, 4)]:
        made = preview.picture(studio, Asked(film=film, time=moment, draft=True))
        found = from_pil(Image.open(io.BytesIO(made.data))).astype(float)
        assert not made.exact and np.abs(found - frames[frame]).mean() < 12
    reel = preview.reel
    preview.picture(studio, Asked(film=film, time=0.5))
    assert preview.reel is reel


def test_a_film_that_would_flicker_is_refused(studios):
    states = [key(1, options={"steps": 2, "solver": "ddim", "eta": 1.0}), key(2)]
    with pytest.raises(ValueError, match="--eta"):
        open_reel(studios["noisy"], Film(keys=states))


@pytest.mark.parametrize(
    "given",
    [
        {"keys": [key(1)]},
        {"keys": [key(1)] * 65},
        {"frames": 0},
        {"fps": 0},
        {"scale": 17},
        {"format": "frames"},
        {"path": "/etc/x"},
        {"easing": "x"},
    ],
)
def test_what_is_no_film_is_refused(given):
    with pytest.raises(ValidationError):
        Film.model_validate({"keys": [key(1), key(2)]} | given)


@pytest.fixture
def room(folder):
    scene = open_studio(str(folder / "styles.safetensors"), {}, CPU, "fp32").scene
    made = FilmRoom(SimpleNamespace(arguments=(str(folder / "styles.safetensors"), {}, "cpu", "fp32", ()), scene=scene))
    yield made
    made.close()


@pytest.fixture
def client(room):
    app = make_app(Echo(), PORT, TOKEN, more=room.routes())
    return TestClient(app, base_url=f"http://{HOST}", headers=OWN)


def until(client, state: str) -> dict:
    end = time.monotonic() + 120
    while (told := client.get("/film").json())["state"] == "rendering" and time.monotonic() < end:
        time.sleep(0.05)
    assert told["state"] == state, told
    return told


FILM = Film(keys=[key(1), key(2)], frames=3)
LONG = FILM.model_copy(update={"frames": 3600})


def test_a_film_is_rendered_fetched_and_replaced_in_the_end(client, room):
    assert client.get("/film").json() == {"film": 0, "state": "none"}
    begun = client.post("/film", content=FILM.model_dump_json()).json()
    assert begun["film"] == 1 and begun["command"].startswith("python interpolate.py")
    told = until(client, "done")
    answer = client.get("/film/1")
    assert len(answer.content) == told["bytes"] and answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == 'attachment; filename="interpolation.mp4"'
    for number in (0, 2):
        assert client.get(f"/film/{number}").status_code == 404
    assert client.get("/film/..%2f1").status_code == 404
    place = Path(room._folder.name)
    room.close()
    assert not place.exists()


def test_a_film_is_canceled_and_nothing_of_it_stays(client, room):
    client.post("/film", content=LONG.model_dump_json())
    refused = client.post("/film", content=FILM.model_dump_json())
    assert refused.status_code == 422 and "cancel it first" in refused.json()["error"]
    while not client.get("/film").json()["done"]:
        time.sleep(0.05)
    assert client.post("/film/cancel").json()["state"] == "canceled"
    room._process.join(20)
    end = time.monotonic() + 20
    while list(Path(room._folder.name).iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(Path(room._folder.name).iterdir()) == [] and room.files == {}


def test_a_process_that_dies_is_told(client, room):
    client.post("/film", content=LONG.model_dump_json())
    while not client.get("/film").json()["done"]:
        time.sleep(0.05)
    room._process.kill()
    assert until(client, "failed")["error"] == DIED


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_in_a_sentence(folder, tmp_path, monkeypatch, number):
    told: list[dict] = []

    def full(path, frames, fps):
        next(frames)
        raise OSError(number, "No space left on device", str(path))

    monkeypatch.setattr(filmroom, "write_film", full)
    arguments: Any = (str(folder / "styles.safetensors"), {}, "cpu", "fp32", ())
    pipe: Any = SimpleNamespace(send=told.append)
    render(pipe, arguments, FILM, tmp_path / "1" / "a.mp4")
    assert told[-1]["error"] == f"the disk of {tmp_path} is full: free some space there, and render the film again"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "the film: invalid JSON"),
        ('{"keys": []}', "keys: tuple should have at least 2"),
        (FILM.model_copy(update={"fps": 60.0, "format": "gif"}).model_dump_json(), "frames a second: 60: gif takes"),
    ],
)
def test_unfit_films_are_refused_in_a_sentence(client, body, said):
    answer = client.post("/film", content=body)
    assert answer.status_code == 422 and answer.json()["error"].startswith(said)


def test_a_key_frame_that_does_not_fit_the_network_is_told(client):
    client.post("/film", content=Film(keys=[key(1), key(2, options={"psi_cutoff": 99})]).model_dump_json())
    assert "--psi-cutoff 99: expected 0 to 6" in until(client, "failed")["error"]


def test_strangers_start_no_films(room):
    for headers in ({**OWN, "Origin": "http://evil.example"}, {**OWN, "Cookie": ""}):
        app = make_app(Echo(), PORT, TOKEN, more=room.routes())
        visitor = TestClient(app, base_url=f"http://{HOST}", headers=headers)
        assert visitor.post("/film", content=FILM.model_dump_json()).status_code == 403
        assert visitor.post("/film/cancel").status_code == 403
    assert room.told["film"] == 0
