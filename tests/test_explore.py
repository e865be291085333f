"""explore.py from the command line: mistakes, ports, and a server that answers until Ctrl-C."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import explore
from tests.commands import refused
from tests.networks import save_noisy, save_tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "styles.safetensors")


def run(*words: str) -> str:
    return refused(CliRunner().invoke(explore.main, [*words, "--no-browser"], prog_name="explore.py"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "none.safetensors"], "none.safetensors"),
        (["--network", "styles.safetensors", "--steps", "5"], "--steps does not apply to styles.safetensors"),
        (["--network", "styles.safetensors", "--psi", "1e9"], "Invalid value for '--psi'"),
        (["--network", "styles.safetensors", "--port", "0"], "Invalid value for '--port'"),
        (
            ["--network", "styles.safetensors", "--listen", "no.such.host.invalid"],
            "--listen no.such.host.invalid is no",
        ),
        (["--network", "styles.safetensors", "--listen", "203.0.113.7"], "--listen 203.0.113.7 is no address of this"),
        (["--network", "styles.safetensors", "--psi-cutoff", "99"], "--psi-cutoff 99: expected 0 to 6"),
        (
            ["--network", str(ROOT / "assets" / "style.safetensors"), "--precision", "fp32"],
            "--precision does not apply",
        ),
        (["--network", "styles.safetensors", "--device", "cuda:1"], "choose the GPU with CUDA_VISIBLE_DEVICES=1"),
    ],
)
def test_mistakes_end_with_a_sentence(words, said):
    assert said in run(*words)


def test_networks_that_make_no_pictures_are_refused(tmp_path):
    save_noisy(tmp_path / "judge.safetensors", model="classifier", classes=2)
    assert "makes no pictures of seeds" in run("--network", "judge.safetensors")


def test_a_taken_port_is_refused_and_without_a_port_the_next_is_taken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port} is taken by another program" in run(
            "--network", "styles.safetensors", "--port", str(port)
        )
        monkeypatch.setattr(explore, "PORT", port)
        with explore._door("127.0.0.1", None) as door:
            assert port < door.getsockname()[1] < port + explore.TRIED
        monkeypatch.setattr(explore, "TRIED", 1)
        with pytest.raises(ValueError, match=f"the ports {port} to {port} are taken"):
            explore._door("127.0.0.1", None)


def test_help_shows_the_options_of_the_network():
    text = CliRunner().invoke(explore.main, ["--network", "styles.safetensors", "--help"]).output
    assert "--psi" in text and "--listen" in text and "--latents" not in text


def test_a_server_answers_and_ends_with_ctrl_c(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "explore.py"),
        "--network",
        "styles.safetensors",
        "--no-browser",
        "--psi",
        "0.5",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout.readline() == "network styles.safetensors: StyleGAN2, 16x16 RGB, 1.5 kimg\n"
            host, token = re.fullmatch(r"the page: http://([\d.:]+)/([\w-]{20,})\n", process.stdout.readline()).groups()
            assert host.startswith("127.0.0.1:")
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request("GET", f"/{token}")
            answer = connection.getresponse()
            assert answer.status == 200 and b"main.js" in answer.read() and "server" not in answer.headers
            connection.request("GET", "/about")
            assert connection.getresponse().status == 403
            connection.close()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(60) == 130 and rest == "Ctrl-C ends it\n"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("network", "kept"),
    [("styles.safetensors", "explorer-films-*"), (ROOT / "assets" / "style.safetensors", "explorer-pictures-*/*")],
)
def test_a_server_that_is_ended_leaves_nothing_behind(tmp_path, monkeypatch, network, kept):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, str(ROOT / "explore.py"), "--network", str(network), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            process.stdout.readline()
            process.stdout.readline()
            assert list((tmp_path / "temporary").glob(kept))
            process.terminate()
            assert process.wait(60) == 143
        finally:
            process.kill()
    assert not list((tmp_path / "temporary").glob("explorer-*"))
