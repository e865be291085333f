import numpy as np

from imaging import survey
from imaging.survey import Seen, digest
from tests.imaging.pictures import picture


def test_what_looks_the_same_has_the_same_digest():
    gray, color = picture(mode="L"), picture()
    assert digest(gray) == digest(gray.convert("RGB")) == digest(gray.convert("RGBA"))
    assert digest(color) == digest(color.convert("RGBA"))
    others = [color, picture(seed=1), gray, color.resize((8, 32)), color.transpose(0), picture(mode="RGBA")]
    assert len({digest(image) for image in others}) == len(others)


def test_the_first_one_is_remembered_however_many_there_are(monkeypatch):
    monkeypatch.setattr(survey, "RECENT", 7)
    random = np.random.RandomState(0)
    digests = [int(n) << 32 | int(n) for n in random.randint(0, 2**32, 300, dtype=np.uint64) % 100]
    seen, reference = Seen(), {}
    for i, value in enumerate(digests):
        assert seen.first(value, i) == reference.get(value)
        reference.setdefault(value, i)
