"""The server of the page: who may ask, what may be asked, and what the answers carry."""

import asyncio
import io
import json
import re
import struct
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from explorer.bodies import BUSY, LARGEST_UPLOAD, LONGEST_MESSAGE
from explorer.guard import HEADERS
from explorer.pagestate import PageState, Scene
from explorer.server import MOST_CLIENTS, PAGE, make_app
from explorer.studio import Asked
from models.stylegan2.choices import StyleOptions

PORT, TOKEN = 8100, "a-token"
HOST = f"127.0.0.1:{PORT}"
OWN = {"Host": HOST, "Origin": f"http://{HOST}", "Cookie": f"explorer-{PORT}={TOKEN}"}


class Echo:
    """Stands for the renderer's link: answers a request with its own JSON."""

    def __init__(self) -> None:
        self.about = {"network": "a.safetensors"}
        self.queues: dict[int, Any] = {}
        self.left = 0

    def join(self):
        client = len(self.queues) + self.left + 1
        self.queues[client] = asyncio.Queue()
        return client, self.queues[client]

    def leave(self, client: int) -> None:
        self.left += self.queues.pop(client, None) is not None

    @property
    def clients(self) -> int:
        return len(self.queues)

    def ask(self, client: int, asked: Asked) -> None:
        told = {"number": asked.number, "slot": asked.slot, "kind": "image/png", "emerge": asked.emerge}
        error = {"error": "no"} if asked.state.seed == 666 else {}
        self.queues[client].put_nowait((told | error, asked.model_dump_json().encode()))

    def save(self, client: int, state: str) -> None:
        self.queues[client].put_nowait(({"saved": True}, b"PNG " + state.encode()))

    def stop(self) -> None:
        pass


@pytest.fixture
def link() -> Echo:
    return Echo()


@pytest.fixture
def client(link) -> TestClient:
    return TestClient(make_app(link, PORT, TOKEN), base_url=f"http://{HOST}", headers=OWN)


def stranger(link, listening: bool = False) -> TestClient:
    """A client that sends no headers of its own."""
    return TestClient(make_app(link, PORT, TOKEN, listening), base_url=f"http://{HOST}")


def unpacked(data: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def test_the_first_address_gives_the_page_and_a_cookie_that_opens_the_rest(link):
    visitor = stranger(link)
    assert visitor.get("/").status_code == 403
    first = visitor.get(f"/{TOKEN}")
    assert first.status_code == 200 and first.text == (PAGE / "index.html").read_text()
    cookie = first.headers["set-cookie"]
    assert cookie == f"explorer-{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert visitor.get("/").status_code == 200 and visitor.get("/about").json() == link.about


@pytest.mark.parametrize("path", ["/a-toke", "/a-token2", "/x?token=a-token", "/main.js", "/about"])
def test_without_the_token_nothing_is_given(link, path):
    assert stranger(link).get(path).status_code == 403
    assert stranger(link).get(path, headers={"Cookie": f"explorer-{PORT}=wrong"}).status_code == 403


def test_every_answer_has_the_headers_of_safety(client):
    for answer in (client.get("/"), client.get("/about"), client.get("/nothing"), client.post("/frame", content="{"),
                   client.get("/", headers={"Host": "evil.example"})):  # fmt: skip
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert not any(name.startswith("access-control") for name in answer.headers)
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize("host", [HOST, f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"])
def test_own_hosts(client, host):
    assert client.get("/about", headers={"Host": host}).status_code == 200


HOSTS = ["127.0.0.1", "127.0.0.1:8101", "evil.example:8100", "127.0.0.1.evil.example:8100", "localhost:8100@evil:8100",
         "192.168.1.5:8100", "0.0.0.0:8100", "", "localhost", "localhost:8100/"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_other_hosts_are_refused(link, host):
    """A page of a name that leads to 127.0.0.1 sends its own name."""
    headers = [("Host", host), ("Cookie", OWN["Cookie"])]
    assert asyncio.run(raw(make_app(link, PORT, TOKEN), headers)) == 403


async def raw(app, headers: list[tuple[str, str]], method: str = "GET", path: str = "/about", body: bytes = b"") -> int:
    """The status of a request whose headers are sent as they are."""
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    coded = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope: dict[str, object] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
    }
    scope |= {"raw_path": path.encode(), "query_string": b"", "headers": coded, "scheme": "http", "root_path": ""}
    await app(scope, receive, send)
    return sent[0]["status"]


def test_two_hosts_or_two_origins_are_refused(link):
    app, cookie = make_app(link, PORT, TOKEN), ("Cookie", OWN["Cookie"])
    both = [("Host", HOST), ("Host", "evil.example:8100"), cookie]
    assert asyncio.run(raw(app, both)) == 403
    origins = [("Host", HOST), ("Origin", f"http://{HOST}"), ("Origin", "null"), cookie]
    assert asyncio.run(raw(app, origins, "POST", "/frame", b"{}")) == 403
    assert asyncio.run(raw(app, [origins[0], origins[1], cookie], "POST", "/frame", b"{}")) == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:8101", f"https://{HOST}"])
def test_posts_and_sockets_of_other_origins_are_refused(link, origin):
    headers = {name: value for name, value in OWN.items() if name != "Origin"} | ({"Origin": origin} if origin else {})
    visitor = TestClient(make_app(link, PORT, TOKEN), base_url=f"http://{HOST}", headers=headers)
    for path in ("/frame", "/save", "/restore", "/sheet"):
        assert visitor.post(path, content="{}").status_code == 403
    with pytest.raises(WebSocketDisconnect), visitor.websocket_connect("/socket"):
        pass
    assert link.clients == link.left == 0


def test_sockets_without_the_token_are_refused(link):
    visitor = TestClient(make_app(link, PORT, TOKEN), base_url=f"http://{HOST}", headers={"Origin": f"http://{HOST}"})
    with pytest.raises(WebSocketDisconnect), visitor.websocket_connect("/socket"):
        pass


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_websites_get_nothing_but_may_lead_to_the_page(client, site):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/main.js", headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 403
    assert client.post("/frame", content="{}", headers=headers).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.get("/main.js", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_other_machines_need_an_address_and_the_token(link):
    visitor = stranger(link, listening=True)
    for host, status in [("192.168.1.5:8100", 200), ("[fe80::1]:8100", 200), ("evil.example:8100", 403)]:
        assert visitor.get("/about", headers={"Host": host, "Cookie": OWN["Cookie"]}).status_code == status
        assert visitor.get("/about", headers={"Host": host, "Cookie": ""}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/page/main.js", "/etc/passwd", "/index.htm", "/..%2fserver.py"]
)
def test_files_come_from_a_fixed_list(client, path):
    assert client.get(path).status_code == 404


def test_the_page_names_no_other_host_and_has_all_its_files(client):
    for path in PAGE.iterdir():
        text = client.get(f"/{path.name}").text
        assert text == path.read_text()
        assert not re.search(r"(?:https?|wss?)://(?!\$\{location\.host\}|www\.w3\.org/2000/svg)", text), path
        for name in re.findall(r'(?:from "\./|src="|href=")([\w.-]+)"', text):
            assert client.get(f"/{name}").status_code == 200
    assert client.get("/main.js").headers["content-type"].startswith("text/javascript")


def test_a_picture_by_socket_and_by_post(client):
    asked = Asked(number=7, slot=3, state=PageState(seeds=((5, 1),)), emerge=True)
    with client.websocket_connect("/socket", headers=OWN) as socket:
        socket.send_text(asked.model_dump_json())
        told, data = unpacked(socket.receive_bytes())
    assert told == {"number": 7, "slot": 3, "kind": "image/png", "emerge": True}
    assert Asked.model_validate_json(data) == asked
    answer = client.post("/frame", content=asked.model_dump_json())
    told, _ = unpacked(answer.content)
    assert answer.status_code == 200 and told["number"] == 7 and told["emerge"] is False
    assert client.post("/frame", content='{"state": {"seeds": [[666, 1]]}}').status_code == 422


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"state": 5}', '{"slot": 250}', '{"number": -1}', '{"path": "x"}', "null"]
)
def test_what_is_no_message_is_refused_and_the_socket_stays(client, text):
    answer = client.post("/frame", content=text)
    assert answer.status_code == 422 and "\n" not in answer.json()["error"]
    with client.websocket_connect("/socket", headers=OWN) as socket:
        socket.send_text(text)
        assert "error" in unpacked(socket.receive_bytes())[0]
        socket.send_text("{}")
        assert unpacked(socket.receive_bytes())[0]["number"] == 0


def test_refused_messages_keep_their_number(client):
    with client.websocket_connect("/socket", headers=OWN) as socket:
        socket.send_text('{"number": 4, "slot": 2, "state": {"seeds": []}}')
        told, _ = unpacked(socket.receive_bytes())
    assert (told["number"], told["slot"]) == (4, 2) and told["error"].startswith("state.seeds: tuple should have")


def test_sockets_messages_and_uploads_are_limited(client, link, monkeypatch):
    assert client.post("/frame", content=b" " * (LONGEST_MESSAGE + 1)).status_code == 413
    assert client.post("/restore", content=b" " * (LARGEST_UPLOAD + 1)).status_code == 413
    with client.websocket_connect("/socket", headers=OWN) as socket:
        socket.send_text(" " * (LONGEST_MESSAGE + 1))
        assert "expected at most" in unpacked(socket.receive_bytes())[0]["error"]
        for _ in range(MOST_CLIENTS - 1):
            link.join()
        assert client.post("/frame", content="{}").status_code == 503
        assert client.post("/save", content="{}").status_code == 503
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/socket", headers=OWN):
            pass
        assert closed.value.reason == BUSY


def test_clients_that_leave_are_forgotten(client, link):
    with client.websocket_connect("/socket", headers=OWN) as socket:
        socket.send_text("{}")
        socket.receive_bytes()
        assert link.clients == 1
    client.post("/frame", content="{}")
    assert (link.clients, link.left) == (0, 2)


def test_saving(client):
    state = PageState(seeds=((5, 1),), options={"psi": 0.5})
    answer = client.post("/save", content=state.model_dump_json())
    assert (
        answer.headers["content-type"] == "image/png" and answer.content == b"PNG " + state.model_dump_json().encode()
    )
    assert client.post("/save", content='{"seeds": 5}').status_code == 422


def test_restoring(client):
    state, info, buffer = PageState(seeds=((5, 1),), options={"psi": 0.5}), PngInfo(), io.BytesIO()
    info.add_itxt("explorer", state.model_dump_json())
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    answer = client.post("/restore", content=buffer.getvalue())
    assert PageState.model_validate(answer.json()) == state
    plain = io.BytesIO()
    Image.new("RGB", (4, 4)).save(plain, "JPEG")
    assert client.post("/restore", content=plain.getvalue()).json()["plain"].startswith("the picture has no settings")
    refused = client.post("/restore", content=b"<svg/>")
    assert refused.status_code == 422 and refused.json()["error"].startswith("the file is no PNG")


def test_sheets(client, link):
    link.scene = Scene("a.safetensors", StyleOptions)
    sheet = {"rows": [1, 2], "cols": [3], "layers": "coarse", "state": {"options": {"psi": 0.5}}}
    line = "python style_mixing.py --network a.safetensors --rows 1,2 --cols 3 --styles coarse --psi 0.5"
    assert client.post("/sheet", content=json.dumps(sheet)).json() == {"command": line}
    unfit = client.post("/sheet", content=json.dumps(sheet | {"state": {"options": {"centers": 2}}}))
    assert unfit.status_code == 200 and "because of --centers: leave it out" in unfit.json()["why"]
    for wrong in ({"layers": "$(x)"}, {"rows": []}, {"cols": [-1]}, {"x": 1}):
        answer = client.post("/sheet", content=json.dumps(sheet | wrong))
        assert answer.status_code == 422 and "\n" not in answer.json()["error"]


def test_methods(client):
    assert client.get("/frame").status_code in (404, 405) and client.post("/about", content="").status_code == 405
