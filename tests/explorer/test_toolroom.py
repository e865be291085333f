"""Tasks of the page: done one at a time in a process of their own, refused in a sentence, and for the page alone."""

import asyncio
import io
import json
import re
import shlex
import threading
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

import generate
from explorer.pagestate import PageState
from explorer.server import make_app
from explorer.studio import open_studio
from explorer.tasks import Change, Combine, Find, Learn, Place, Project, Show
from explorer.toolroom import BUSY, DIED, ToolRoom
from tests.explorer.test_server import HOST, OWN, PORT, TOKEN, Echo
from tests.networks import save_noisy, save_tiny


def arguments(network, folder, **values):
    return (str(network), {"directions": folder / "d.safetensors", **values}, "cpu", "fp32", ())


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    made = ToolRoom(arguments(save_tiny(folder / "a.safetensors", w_dim=16, z_dim=16), folder), "tool")
    yield made
    made.close()


def test_directions_are_found_learned_combined_and_placed(room):
    assert room.work(Show())["directions"] == []
    found = room.work(Find(do="find", method="pca", count=2))
    assert [each["name"] for each in found["directions"]] == ["pca0", "pca1"] and set(found["methods"]) == {
        "sefa",
        "pca",
    }
    seeds = [PageState(seeds=((seed, 1.0),)) for seed in range(8)]
    room.work(Learn(do="learn", name="mine", more=seeds[:4], less=seeds[4:]))
    answer = room.work(Combine(do="combine", name="two", steps="pca0:1;mine:2"))
    assert answer["strength"] > 0 and len(answer["directions"]) == 4
    room.work(Change(do="change", name="two", new="both", starred=None))
    assert room.work(Change(do="change", name="both", starred=True))["directions"][0]["name"] == "both"
    moved = PageState(options={"move": "pca0:2"})
    placed = room.work(Place(do="place", axes=("pca0", "pca1"), states=(PageState(), moved), seeds=3))
    (x, y), _, _, (x0, y0), (x2, y2) = placed["points"]
    assert (x0, y0) == (x, y) and (x2, y2) == pytest.approx((x + 2, y), abs=1e-3)
    shared = PageState(options={"psi": 0})
    placed = room.work(Place(do="place", axes=("pca0", "pca1"), states=(), seeds=2, shared=shared))
    assert placed["points"][0] == placed["points"][1] == pytest.approx((0, 0), abs=5)
    for task, said in [
        (Find(do="find", method="x"), "there is no method 'x': choose sefa, pca"),
        (Place(do="place", axes=("pca0", "no"), states=(), seeds=1), "the map: got 'no', expected some of 0 pca0"),
        (Learn(do="learn", name="a", more=(), less=()), "mark pictures with more of it"),
    ]:
        with pytest.raises(ValueError, match=said):
            room.work(task)


def test_a_task_tells_how_far_it_is_and_others_wait(room, monkeypatch):
    seen, ended = [], threading.Event()

    def work():
        room.work(Find(do="find", method="sefa"))
        ended.set()

    room.close()  # the process starts anew, so the w are drawn again
    threading.Thread(target=work).start()
    while not ended.is_set():
        if room.told["busy"] and not seen:
            with pytest.raises(ValueError, match=BUSY[:20]):
                room.work(Show())
        seen.append(room.told.get("share", 0))
        time.sleep(0.005)
    assert room.told == {"busy": False} and seen == sorted(seen[:-1]) + seen[-1:] and max(seen) > 0


def test_a_process_that_dies_is_told_and_started_again(room):
    room.work(Show())
    timer = threading.Timer(0.05, room._process.kill)
    room.work(Show())
    timer.start()
    timer.join()
    room._process.join(10)
    assert room.work(Show())["methods"]

    room._process.kill()
    room._process.join(10)
    room._process.is_alive = lambda: True  # it dies after the look
    with pytest.raises(ValueError, match=DIED[:30]):
        room.work(Show())
    room._process = None
    assert room.work(Show())["methods"]


def picture(size=(40, 30), **save) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert(save.pop("mode", "RGB")).save(
        buffer, save.pop("format", "PNG"), **save
    )
    return buffer.getvalue()


def test_a_photograph_is_found_and_its_latents_make_the_same_bytes_anywhere(room, tmp_path, monkeypatch):
    found = room.work(Project(do="project", steps=5), picture())
    assert re.fullmatch("photo-[0-9a-f]{8}", found["latent"]) and found["likeness"] > 5
    network, values, *_ = room.arguments
    studio = open_studio(network, values, torch.device("cpu"), "fp32", ("--device", "cpu"))
    monkeypatch.chdir(tmp_path)
    latent, text = found["latent"], f"{found['latent']}@0-2@0.5"
    for state in (PageState(latent=latent), PageState(latent=latent, options={"psi": 0.5, "styles_of": "4@coarse"}),
                  PageState(options={"styles_of": text})):  # fmt: skip
        _, _, *words = shlex.split(studio.scene.command(state))
        assert CliRunner().invoke(generate.main, words, catch_exceptions=False).exit_code == 0
        (file,) = Path("out").glob("*.png")
        assert file.read_bytes() == studio.exact(state).data
        file.unlink()
    assert studio.exact(PageState(latent=latent)).data != studio.exact(PageState()).data
    with pytest.raises(ValueError, match="the latents photo-00000000 are no longer in"):
        studio.exact(PageState(latent="photo-00000000"))
    room.work(Find(do="find", method="pca", count=2))
    spot = room.work(Place(do="place", axes=("pca0", "pca1"), states=(PageState(latent=latent),)))["points"][0]
    assert spot != room.work(Place(do="place", axes=("pca0", "pca1"), states=(PageState(),)))["points"][0]


def test_a_photograph_tunes_a_copy_of_the_network(room):
    found = room.work(Project(do="project", steps=20, tuning=20), picture())
    assert found["tuned"] > found["likeness"]
    _, script, flag, place = shlex.split(found["command"])
    assert (script, flag) == ("explore.py", "--network")
    network, values, *_ = room.arguments
    tuned = open_studio(place, {"directions": values["directions"]}, torch.device("cpu"), "fp32")
    plain = open_studio(network, values, torch.device("cpu"), "fp32")
    state = PageState(latent=found["latent"])
    assert tuned.about["kind"] == plain.about["kind"] and tuned.exact(state).data != plain.exact(state).data


def test_a_search_is_good_enough_when_the_page_says_so(room):
    def stop():
        while room.told.get("share", 0) == 0:
            time.sleep(0.005)
        assert room.seen.startswith(b"\x89PNG")
        asyncio.run(room.stop(None))

    threading.Thread(target=stop, daemon=True).start()
    start = time.perf_counter()
    found = room.work(Project(do="project", space="w", steps=5000), picture(mode="RGBA"))
    assert found["latent"] and time.perf_counter() - start < 60
    assert room.work(Show())["methods"]


@pytest.mark.parametrize("data", [b"", b"<svg/>", picture()[:60], picture(format="GIF")])
def test_what_is_no_photograph_is_refused(room, data):
    with pytest.raises(ValueError, match="the file is no PNG, JPEG or WebP picture: choose another one"):
        room.work(Project(do="project"), data)


def test_families_without_directions_say_so(tmp_path):
    room = ToolRoom((str(save_noisy(tmp_path / "b.safetensors")), {}, "cpu", "fp32", ()), "tool")
    try:
        with pytest.raises(ValueError, match="this network has no directions"):
            room.work(Show())
    finally:
        room.close()


@pytest.fixture
def app(room):
    return make_app(Echo(), PORT, TOKEN, more=room.routes())


def test_the_page_asks_by_post(app):
    client = TestClient(app, base_url=f"http://{HOST}", headers=OWN)
    assert client.post("/tool", content='{"task": {"do": "show"}}').json()["methods"]
    assert client.get("/tool").json() == {"busy": False} and client.get("/tool/seen").status_code == 404
    assert client.post("/tool/stop").json() == {"busy": False}
    many = {"do": "find", "method": "pca", "count": 1000}
    tasks = [{"do": "rm"}, {"do": "show", "path": "/etc"}, many, {"do": "change", "name": "x" * 61}]
    failed = client.post("/tool", content='{"task": {"do": "find", "method": "x"}}')
    assert failed.status_code == 200 and failed.json()["error"].startswith("there is no method 'x'")
    for wrong in ("{", "{}", *(json.dumps({"task": task}) for task in tasks)):
        answer = client.post("/tool", content=wrong)
        assert answer.status_code == 422 and "\n" not in answer.json()["error"]


@pytest.mark.parametrize("lacking", ["Origin", "Cookie", "Host"])
def test_strangers_are_refused(app, lacking):
    headers = OWN | {lacking: "http://evil.example"}
    client = TestClient(app, base_url=f"http://{HOST}", headers=headers)
    assert client.post("/tool", content='{"task": {"do": "show"}}').status_code == 403
    assert client.post("/tool/stop").status_code == 403
    if lacking != "Origin":
        assert client.get("/tool").status_code == client.get("/tool/seen").status_code == 403
