"""Networks and runs that the page may choose from, and pictures of them."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from explorer.link import Link
from explorer.offered import POLICY, Offered
from explorer.others import Others
from explorer.pagestate import PageState
from explorer.server import make_app
from explorer.studio import Asked
from tests.explorer.test_server import HOST, OWN, PORT, TOKEN, Echo, unpacked
from tests.networks import save_noisy, save_tiny


@pytest.fixture
def runs(tmp_path) -> Path:
    for number, seen in (("00000-a", (0, 20)), ("00001-b", (5,))):
        run = tmp_path / "runs" / number
        run.mkdir(parents=True)
        for kimg in seen:
            save_tiny(run / f"network-{kimg:06d}.0.safetensors")
            Image.fromarray(np.full((40, 60, 3), kimg, np.uint8)).save(run / f"fakes-{kimg:06d}.0.png")
        (run / "log.txt").write_text("<script>alert(1)</script>\n")
    (tmp_path / "runs" / "00002-empty").mkdir()
    save_tiny(tmp_path / "shown.safetensors")
    save_noisy(tmp_path / "beside.safetensors")
    return tmp_path


@pytest.fixture
def offered(runs) -> Offered:
    return Offered(str(runs / "shown.safetensors"), runs / "runs")


@pytest.fixture
def client(offered):
    return TestClient(make_app(Echo(), PORT, TOKEN, more=offered.routes()), base_url=f"http://{HOST}", headers=OWN)


def test_the_list_names_networks_beside_and_the_snapshots_of_runs(client, offered, runs):
    told = client.get("/networks").json()
    assert [each["name"] for each in told["networks"]] == ["beside.safetensors"]
    found = [(run["name"], [snapshot["kimg"] for snapshot in run["snapshots"]]) for run in told["runs"]]
    assert found == [("00001-b", [5]), ("00000-a", [0, 20])]
    save_tiny(runs / "runs" / "00001-b" / "network-000010.0.safetensors")
    again = client.get("/networks").json()
    assert [s["kimg"] for s in again["runs"][0]["snapshots"]] == [5, 10]
    assert again["runs"][0]["snapshots"][0] == told["runs"][0]["snapshots"][0]
    for run in again["runs"]:
        for snapshot in run["snapshots"]:
            assert offered.path(snapshot["number"]).name.startswith("network-")
    assert offered.path(99) is None


def test_the_run_of_the_shown_snapshot_comes_first(runs):
    shown = runs / "runs" / "00000-a" / "network-000000.0.safetensors"
    app = make_app(Echo(), PORT, TOKEN, more=Offered(str(shown), runs / "elsewhere").routes())
    told = TestClient(app, base_url=f"http://{HOST}", headers=OWN).get("/networks").json()
    assert [run["name"] for run in told["runs"]] == ["00000-a"] and told["networks"] == []
    assert Offered("ffhq256", runs / "elsewhere")._runs() == []


def test_the_newest_sheet_and_the_report_of_a_run(client):
    run = client.get("/networks").json()["runs"][1]["number"]
    answer = client.get(f"/runs/{run}/sheet")
    assert answer.headers["content-type"] == "image/webp" and len(answer.content) < 2000
    report = client.get(f"/runs/{run}/report")
    assert report.headers["content-security-policy"] == POLICY and "allow-same-origin" not in POLICY
    assert (
        "00000-a" in report.text and "<script>alert(1)" not in report.text and 'http-equiv="refresh"' not in report.text
    )
    for path in ("/runs/77/sheet", "/runs/77/report", "/runs/..%2f0/report", "/runs/0/x"):
        assert client.get(path).status_code == 404


def test_a_damaged_sheet_and_a_removed_run_are_not_there(client, runs):
    run = client.get("/networks").json()["runs"][0]["number"]
    (runs / "runs" / "00001-b" / "fakes-000099.0.png").write_bytes(b"<svg/>")
    assert client.get(f"/runs/{run}/sheet").status_code == 404
    for path in (runs / "runs" / "00001-b").iterdir():
        path.unlink()
    assert client.get(f"/runs/{run}/report").status_code == 404


def test_strangers_get_no_list(offered):
    visitor = TestClient(make_app(Echo(), PORT, TOKEN, more=offered.routes()), base_url=f"http://{HOST}")
    for path in ("/networks", "/runs/0/sheet", "/runs/0/report"):
        assert visitor.get(path).status_code == 403


def test_other_networks_and_precisions_answer_by_the_same_socket(runs, offered):
    link = Link(str(runs / "shown.safetensors"), {}, "cpu", "fp32")
    link.start()
    others = Others(link, offered)
    app = make_app(link, PORT, TOKEN, more=offered.routes(), others=others)
    client = TestClient(app, base_url=f"http://{HOST}", headers=OWN)
    try:
        told = client.get("/networks").json()
        snapshot, beside = told["runs"][0]["snapshots"][0]["number"], told["networks"][0]["number"]
        state = PageState(seeds=((3, 1.0),), options={"psi": 0.5})
        pictures = {}
        with client.websocket_connect("/socket", headers=OWN) as socket:
            for number, more in enumerate([{}, {"network": snapshot}, {"network": beside}, {"precision": "bf16"}]):
                socket.send_text(Asked(number=number, slot=number, state=state, draft=True, **more).model_dump_json())
                header, pictures[number] = unpacked(socket.receive_bytes())
                assert (header["number"], header.get("error")) == (number, None)
            socket.send_text(json.dumps({"network": 4000}))
            assert "no longer there" in unpacked(socket.receive_bytes())[0]["error"]
        assert pictures[0] == pictures[1] and len(set(pictures.values())) >= 2  # the snapshot has the same weights
        posted = [client.post("/frame", content=json.dumps({"network": beside, "draft": True})) for _ in range(2)]
        assert [answer.status_code for answer in posted] == [200, 200]
        assert unpacked(posted[0].content)[1] == unpacked(posted[1].content)[1]
        (runs / "beside.safetensors").unlink()
        assert "no longer there" in client.post("/frame", content=json.dumps({"network": beside})).json()["error"]
    finally:
        others.stop()
        link.stop()


def test_a_server_of_one_network_refuses_others():
    client = TestClient(make_app(Echo(), PORT, TOKEN), base_url=f"http://{HOST}", headers=OWN)
    assert (
        client.post("/frame", content='{"precision": "fp32"}').json()["error"] == "this server shows one network alone"
    )


def test_the_process_starts_once(runs, offered, monkeypatch):
    started = []

    class Fake(Link):
        def leave(self, client):
            pass

        def start(self):
            started.append(1)

        def ask(self, client, asked):
            started.append(asked.place)

    monkeypatch.setattr("explorer.others.OtherLink", lambda device, threads: Fake("", {}, device, "fp32"))
    shown = SimpleNamespace(arguments=("here", {"guide": "x"}, "cpu", "fp32", ()), about={"threads": (1, True)})
    others = Others(shown, offered)

    async def both() -> None:
        answers: asyncio.Queue = asyncio.Queue()
        await asyncio.gather(*(others.ask(client, Asked(precision="fp32"), answers) for client in (1, 2)))
        others.leave(1)

    asyncio.run(both())
    assert started.count(1) == 1 and started.count("here") == 2 and list(others._guests) == [2]
