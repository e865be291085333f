import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imaging.grid import save_image
from tests.imaging.pictures import picture
from training.report.writer import Report


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_tensorboard_gets_the_very_bytes_of_a_picture(tmp_path, mode):
    path = tmp_path / "fakes.png"
    save_image(picture(12, 8, mode), path)
    (tmp_path / "run").mkdir()
    report = Report(tmp_path / "run")
    report.picture("fakes", path, 4000)
    report.close()
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    (shown,) = events.Images("fakes")
    assert shown.step == 4000 and (shown.width, shown.height) == (12, 8)
    assert shown.encoded_image_string == path.read_bytes()


def test_processes_that_write_nothing_show_nothing(tmp_path):
    report = Report(None)
    report.picture("fakes", tmp_path / "never made.png", 0)
    report.close()
