"""Explore a network in the browser: sliders move, and the picture follows."""

import system.start  # noqa: F401 (first)

import errno
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.routing import Route

from explorer import filmroom, offered, others, toolroom
from explorer import link as links
from explorer import server as serving
from explorer.bodies import LONGEST_MESSAGE
from explorer.gallery import Gallery
from models.families import NetworkFile, check_samples, read_network
from sampling.command import DEVICE, PATH, RUNS, find, given, learn, options, refuse
from torch_utils import config
from torch_utils.cli import Command, say
from torch_utils.device import resolve_device, resolve_precision

EXAMPLES = """
Examples:
  python explore.py                                      the newest network of runs, or the bundled one
  python explore.py --network ffhq256 --port 8080 --no-browser
  python explore.py --network assets/faces64.safetensors --psi 0.7
  python explore.py --listen 0.0.0.0                     also for other machines, which need the address with its token
  python explore.py --network assets/style.safetensors   your own pictures in the style of others
"""
PLACE = "network-….safetensors, run folder, URL, hf://USER/NAME or published name; default: newest in runs, or bundled"
LISTEN = "address to listen on for other machines, such as 0.0.0.0; whoever has the printed address can use the page"
PORT, TRIED = 8100, 20  # the usual port, and how many after it may be taken instead
HERE = "127.0.0.1"


@click.command(cls=Command, more=partial(learn, seeds=False), epilog=EXAMPLES)
@options("Network", ("--network", click.Path(), None, PLACE, {"metavar": "PLACE"}))
@options(
    "Page",
    ("--port", click.IntRange(1, 65535), None, "port of the page", {"shown": f"{PORT}, or the next free one"}),
    ("--browser/--no-browser", bool, True, "open the page in the browser"),
    ("--listen", "ADDRESS", None, LISTEN),
    ("--outdir", PATH, Path("out/explorer"), "folder for the directions and latents that the page finds"),
)
@DEVICE
@options("Device", ("--precision", click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]), "auto", "number format"))
def main(
    port: int | None, browser: bool, listen: str | None, outdir: Path, device: str, precision: str, **values: Any
) -> None:
    """Explore a network in the browser: a page whose sliders move the picture.

    Each picture has an address, a command line of generate.py that makes it, and can be saved as a PNG with its
    settings inside. Only this machine reaches the page, unless --listen is given.
    """
    known: NetworkFile | None = click.get_current_context().obj
    place = str(find(values.pop("network")))
    file = known or read_network(place)
    kind = file.family.options
    if file.family.open_restyler is not None:
        _restyle(place, device, _door(listen or HERE, port), listen is not None, browser)
        return
    check_samples(file)
    chosen = {name: value for name, value in values.items() if value is not None and name in config.settings(kind)}
    config.build(kind, chosen)
    for name, setting in config.settings(kind).items():
        if setting.mark.get("serves"):
            chosen.setdefault(name, outdir / f"{Path(str(file)).stem}-{name}.safetensors")
    resolved = resolve_device(device)
    typed = {"device": device, "precision": precision}
    more = [word for name, value in typed.items() if name in given() for word in (f"--{name}", value)]
    door = _door(listen or HERE, port)
    link = links.Link(place, chosen, str(resolved), resolve_precision(precision, resolved), more)
    link.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that films are removed then, too
    films, choice = filmroom.FilmRoom(link), offered.Offered(place, RUNS)
    tools = [toolroom.ToolRoom(link.arguments, name) for name in ("tool", "photo")]
    guests = others.Others(link, choice)
    try:
        routes = [*films.routes(), *choice.routes(), *(route for room in tools for route in room.routes())]
        _run(link, door, listen is not None, browser, routes, guests)
    finally:
        films.close()
        for room in tools:
            room.close()
        guests.stop()
        link.stop()


def _restyle(place: str, device: str, door: socket.socket, listening: bool, browser: bool) -> None:
    """Serve the page of a network that restyles pictures."""
    refuse(["precision", "outdir"], "to a network that restyles pictures")
    more = ["--device", device] if "device" in given() else []
    with tempfile.TemporaryDirectory(prefix="explorer-pictures-", ignore_cleanup_errors=True) as folder:
        gallery = Gallery(Path(folder))
        link = links.EaselLink(place, gallery, str(resolve_device(device)), more)
        link.start()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the pictures are removed then, too
        try:
            _run(link, door, listening, browser, gallery.routes(), None)
        finally:
            link.stop()


def _run(link: links.Link, door: socket.socket, listening: bool, browser: bool, more: list[Route], guests: Any) -> None:
    """Serve the page until Ctrl-C."""
    host, port = door.getsockname()[:2]
    token = secrets.token_urlsafe(18)
    say(f"network {link.about['network']}: {link.about['kind']}")
    address = f"http://{HERE}:{port}/{token}"
    if listening:
        there = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        say("note: other machines can reach the page with the token in this address; give it to nobody else")
        address = f"http://{there}:{port}/{token}"
    say(f"the page: {address}")
    say("Ctrl-C ends it")
    app = serving.make_app(link, port, token, listening, more, guests)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="error", ws_max_size=LONGEST_MESSAGE, server_header=False, timeout_graceful_shutdown=1
        )
    )
    if browser:
        threading.Timer(0.3, _show, [address]).start()
    server.run(sockets=[door])


def _show(address: str) -> None:
    try:
        shown = webbrowser.open(address)
    except webbrowser.Error:
        shown = False
    if not shown:
        say("note: no browser was found: open the address above in one")


def _door(host: str, port: int | None) -> socket.socket:
    """A socket that listens on the port, or without one on the first free port from `PORT`."""
    tried = [port] if port else range(PORT, PORT + TRIED)
    for each in tried:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, each), family=family, backlog=64)
        except OSError as error:
            if error.errno is None or error.errno < 0 or error.errno == errno.EADDRNOTAVAIL:  # below 0: no such name
                mend = "give an address of this machine, or 0.0.0.0 for all"
                raise ValueError(f"--listen {host} is no address of this machine: {mend}") from error
            if error.errno == errno.EACCES:
                raise ValueError(f"--port {each} needs more rights: choose a port from 1024") from error
            if error.errno != errno.EADDRINUSE:
                raise
    taken = f"--port {port} is taken" if port else f"the ports {PORT} to {PORT + TRIED - 1} are taken"
    raise ValueError(f"{taken} by another program: choose another with --port")


if __name__ == "__main__":
    main()
