import numpy as np

from imaging import survey
from imaging.survey import Seen, digest
from tests.imaging.pictures import picture


def test_what_looks_the_same_has_the_same_digest():
    grey, colour = picture(mode="L"), picture()
    assert digest(grey) == digest(grey.convert("RGB")) == digest(grey.convert("RGBA"))
    assert digest(colour) == digest(colour.convert("RGBA"))
    others = [colour, picture(seed=1), grey, colour.resize((8, 32)), colour.transpose(0), picture(mode="RGBA")]
    assert len({digest(image) for image in others}) == len(others)


def test_the_first_one_is_remembered_however_many_there_are(monkeypatch):
    monkeypatch.setattr(survey, "RECENT", 7)
    random = np.random.RandomState(0)
    digests = [int(n) << 32 | int(n) for n in random.randint(0, 2**32, 300, dtype=np.uint64) % 100]
    seen, reference = Seen(), {}
    for i, value in enumerate(digests):
        assert seen.first(value, i) == reference.get(value)
        reference.setdefault(value, i)
