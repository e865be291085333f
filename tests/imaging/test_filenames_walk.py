"""Folders with links: each is entered once, and walking ends."""

import pytest

from imaging.archive import open_archive
from tests.imaging.pictures import picture, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "set", {f"{name}/{i}.png": picture(seed=i) for name in "ac" for i in range(3)})


NAMES = tuple(f"{name}/{i}.png" for name in "ac" for i in range(3))


def test_links_that_lead_to_each_other_show_no_picture_twice(folder):
    (folder / "a" / "b").symlink_to("../c")
    (folder / "c" / "d").symlink_to("../a")
    assert open_archive(folder).names == NAMES


def test_links_upwards_and_to_nowhere(folder):
    (folder / "a" / "up").symlink_to("..")
    (folder / "a" / "top").symlink_to("/")
    (folder / "a" / "self.png").symlink_to("self.png")
    (folder / "a" / "gone").symlink_to("nowhere")
    archive = open_archive(folder)
    assert archive.names == NAMES
    assert archive.passed == ["skipped pipes, devices and broken links: a/gone and 1 more"]


def test_a_folder_elsewhere_is_read_once(folder, tmp_path):
    write_folder(tmp_path / "far", {"x.png": picture(seed=9), "deep/y.png": picture(seed=8)})
    (folder / "far1").symlink_to(tmp_path / "far")
    (folder / "far2").symlink_to(tmp_path / "far")
    (folder / "far3").symlink_to(tmp_path / "far" / "deep")
    assert open_archive(folder).names == (*NAMES, "far1/deep/y.png", "far1/x.png")
    (tmp_path / "all").symlink_to(folder)
    assert len(open_archive(tmp_path / "all").names) == 8, "the folder asked for may be a link"


def test_run_folders_are_passed_over_and_named(folder):
    write_folder(folder, {"runs/0/config.json": b"{}", "runs/0/log.txt": b"", "runs/0/fakes.png": picture()})
    archive = open_archive(folder)
    assert archive.names == NAMES and archive.passed == ["skipped folders of training runs: runs/0"]
