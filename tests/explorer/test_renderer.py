"""The process that computes: the newest request wins, what nobody waits for is abandoned, and a crash loses nothing."""

import asyncio
import multiprocessing
import os
import signal
import time

import pytest
import torch

from explorer.collage import Collage, Dropped
from explorer.link import DIED, Link
from explorer.pagestate import PageState
from explorer.renderer import PATIENCE, SAVING, SupersededError, Waiting
from explorer.studio import Asked
from tests.networks import save_tiny


def asked(seed: int, slot: int = 0, **more) -> Asked:
    return Asked(number=seed, slot=slot, state=PageState(seeds=((seed, 1),)), **more)


def collage(share: float) -> Collage:
    part = Dropped(digest="0" * 64, name="x", share=share)
    return Collage(content=part, styles=(part,))


@pytest.fixture
def ends():
    """The server's end of the pipe, and the requests behind the other one."""
    ours, theirs = multiprocessing.Pipe()
    yield ours, Waiting(theirs)
    ours.close()
    theirs.close()


def send(pipe, *all_asked: Asked, client: int = 1) -> None:
    for each in all_asked:
        pipe.send(("ask", client, each))


def look(waiting: Waiting) -> bool:
    """Whether the work is abandoned at the next look."""
    waiting.looked = 0
    try:
        waiting.look()
    except SupersededError:
        return True
    return False


def taken(pipe, waiting: Waiting) -> list[int]:
    """The numbers of all requests that wait, in the order of their answers."""
    waiting.read(wait=False)
    found = []
    while waiting.asked:
        _, request = waiting.take()
        assert isinstance(request, Asked)
        found.append(request.number)
    return found


def test_the_newest_request_of_a_slot_wins(ends):
    pipe, waiting = ends
    send(pipe, *(asked(seed) for seed in range(50)))
    assert taken(pipe, waiting) == [49]


def test_pictures_come_before_children_and_clients_in_turn(ends):
    pipe, waiting = ends
    send(pipe, asked(11, slot=1), asked(12, slot=2), asked(10))
    send(pipe, asked(20), client=2)
    assert taken(pipe, waiting) == [10, 20, 11, 12]


def test_saving_waits_for_pictures(ends):
    pipe, waiting = ends
    pipe.send(("save", 1, "{}"))
    send(pipe, asked(5, slot=9))
    waiting.read(wait=True)
    assert waiting.take()[1].number == 5 and waiting.take() == (1, "{}") and waiting.job == (1, SAVING)


@pytest.mark.parametrize(
    ("work", "newer", "abandoned"),
    [
        (asked(1), asked(2), True),
        (asked(1), asked(2, draft=True), True),
        (asked(1, draft=True), asked(2), True),
        (asked(1, draft=True), asked(1), False),  # the draft of the same picture is there sooner
        (asked(1, draft=True, collage=collage(1)), asked(1, draft=True, collage=collage(0.5)), True),
        (asked(1, draft=True, collage=collage(1)), asked(1, collage=collage(1)), False),
        (asked(1), asked(2, slot=3), False),
        (asked(1, slot=3), asked(2), True),
        (asked(1, slot=3), asked(2, slot=4), False),
    ],
)
def test_superseded_work_is_abandoned(ends, work, newer, abandoned):
    pipe, waiting = ends
    send(pipe, work)
    waiting.take()
    assert not look(waiting)
    waiting.sent = time.perf_counter()
    send(pipe, newer)
    assert look(waiting) == abandoned


def test_drafts_are_finished_if_nothing_was_seen_for_a_while(ends):
    pipe, waiting = ends
    send(pipe, asked(1, draft=True))
    waiting.take()
    send(pipe, asked(2, draft=True))
    waiting.sent = time.perf_counter()
    assert look(waiting)
    waiting.sent -= 2 * PATIENCE
    assert not look(waiting)


def test_work_for_a_closed_page_is_abandoned(ends):
    pipe, waiting = ends
    send(pipe, asked(1), asked(2, slot=1))
    waiting.take()
    pipe.send(("gone", 1))
    assert look(waiting) and not waiting.asked


async def answer(link: Link, *requests: Asked) -> list[dict]:
    """The headers of all answers up to that of the last request."""
    client, answers = link.join()
    try:
        for request in requests:
            link.ask(client, request)
        found: list[dict] = []
        while not found or (found[-1].get("number") != requests[-1].number and "error" not in found[-1]):
            found.append((await asyncio.wait_for(answers.get(), 120))[0])
        return found
    finally:
        link.leave(client)


def test_a_process_answers_and_is_started_again_when_it_dies(tmp_path):
    link = Link(str(save_tiny(tmp_path / "a.safetensors")), {}, "cpu", "fp32")
    link.start()
    try:
        assert link.about["kind"] == "StyleGAN2, 16x16 RGB, 1.5 kimg"
        assert asyncio.run(answer(link, asked(7)))[-1]["exact"]
        told = asyncio.run(answer(link, *(asked(seed) for seed in range(100, 200))))
        assert told[-1]["number"] == 199 and len(told) < 50
        (refused,) = asyncio.run(answer(link, Asked(number=8, state=PageState(options={"psi": 1e9}))))
        assert refused["number"] == 8 and refused["error"].startswith("--psi: got")

        async def killed() -> dict:
            client, answers = link.join()
            os.kill(link.process.pid, signal.SIGKILL)
            told, _ = await asyncio.wait_for(answers.get(), 120)
            link.leave(client)
            return told

        assert asyncio.run(killed()) == {"error": DIED, "again": True}
        assert asyncio.run(answer(link, asked(7)))[-1]["exact"]
    finally:
        link.stop()
    assert not link.process.is_alive()


def test_a_network_that_cannot_be_opened_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        Link(str(tmp_path / "a.safetensors"), {}, "cpu", "fp32").start()


def test_the_look_happens_between_modules(ends):
    """A network of many modules stops at the one before which the newer request has come."""
    pipe, waiting = ends
    done = []

    class Layer(torch.nn.Module):
        def forward(self, x):
            done.append(len(done))
            if len(done) == 3:
                send(pipe, asked(2))
            waiting.looked = 0
            return x

    send(pipe, asked(1))
    waiting.take()
    hook = torch.nn.modules.module.register_module_forward_pre_hook(waiting.look)
    try:
        with pytest.raises(SupersededError):
            torch.nn.Sequential(*(Layer() for _ in range(10)))(torch.zeros(1))
    finally:
        hook.remove()
    assert done == [0, 1, 2]
