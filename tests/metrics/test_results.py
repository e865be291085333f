import json

import pytest

from metrics.catalog import parse
from metrics.results import Record

FID, PR = parse("fid5k"), parse("pr5k3")


def _network(folder, name):
    (folder / name).write_text(name)
    return {"network": name}


@pytest.fixture
def record(tmp_path):
    record = Record(tmp_path)
    for seen, value in ((1000, 30.0), (2000, 10.0), (3000, 20.0)):
        record.append({"fid5k": value}, seen, _network(tmp_path, f"network-{seen:08.1f}.safetensors"))
    return record


def test_a_line_holds_everything(tmp_path):
    facts = {"network": "n", "data": "d", "fingerprint": "f", "count": 5, "seed": 1, "command": "c", "seconds": 1.5}
    Record(tmp_path).append({"pr5k3_precision": 0.5, "pr5k3_recall": float("nan")}, None, facts)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    results = {"pr5k3_precision": 0.5, "pr5k3_recall": None}  # JSON has no nan
    assert lines == [
        {"seen": None, "metric": name, "value": value, "results": results, **facts} for name, value in results.items()
    ]


def test_the_best_is_the_lowest_or_the_highest(tmp_path, record):
    assert record.best(FID)["seen"] == 2000
    for seen, value in ((1000, 0.5), (2000, 0.9), (3000, 0.9), (4000, float("nan"))):
        record.append(
            {"pr5k3_precision": value, "pr5k3_recall": 1.0}, seen, {"network": "network-000001.0.safetensors"}
        )
    assert record.best(PR)["seen"] == 2000  # of equal ones the earlier
    assert record.best(parse("swd")) is None


def test_keeps_the_best_network_and_says_so_once(tmp_path, record):
    assert record.keep_best(FID) == "best.safetensors is network-002000.0.safetensors now: fid5k 10"
    assert record.keep_best(FID) == ""
    best = tmp_path / "best.safetensors"
    assert best.samefile(tmp_path / "network-002000.0.safetensors")  # takes no room
    (tmp_path / "network-002000.0.safetensors").unlink()
    assert record.keep_best(FID) == "" and best.read_text() == "network-002000.0.safetensors"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_copies_where_there_are_no_hard_links(tmp_path, record, monkeypatch):
    def no_link(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", no_link)
    assert record.keep_best(FID).startswith("best.safetensors is network-002000.0.safetensors now")
    assert (tmp_path / "best.safetensors").read_text() == "network-002000.0.safetensors"


def test_a_rewound_run_has_the_best_of_what_is_left(tmp_path, record):
    record.keep_best(FID)
    with record.path.open("a") as file:
        file.write('{"seen": 500, "metr')  # cut short
    record.rewind(1500)
    assert [line["seen"] for line in record.read()] == [1000]
    assert record.keep_best(FID) == "best.safetensors is network-001000.0.safetensors now: fid5k 30"
    record.rewind(500)
    assert record.keep_best(FID) == "" and not (tmp_path / "best.safetensors").exists()


def test_an_empty_folder_has_no_results(tmp_path):
    record = Record(tmp_path)
    record.rewind(0)
    assert list(record.read()) == [] and record.best(FID) is None


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.txt",
        "../network-000001.0.safetensors",
        "/etc/passwd",
        "secret.txt",
        "network-1.safetensors",
        "network-000001.0.safetensors\n",
        ["network-000001.0.safetensors"],
        None,
    ],
)
def test_only_networks_of_the_folder_are_ever_the_best(tmp_path, name):
    folder = tmp_path / "runs" / "00000-x"
    folder.mkdir(parents=True)
    for secret in (tmp_path / "secret.txt", folder / "secret.txt", folder.parent / "network-000001.0.safetensors"):
        secret.write_text("mine")
    record = Record(folder)
    record.append({"fid5k": 1.0}, 1000, {"network": name})
    assert record.keep_best(FID) == "" and not (folder / "best.safetensors").exists()
    record.append({"fid5k": 2.0}, 1000, _network(folder, "network-000001.0.safetensors"))
    assert record.keep_best(FID) == "best.safetensors is network-000001.0.safetensors now: fid5k 2"


def test_a_network_that_is_a_link_is_not_kept(tmp_path):
    (tmp_path / "secret.txt").write_text("mine")
    record = Record(tmp_path)
    record.append({"fid5k": 1.0}, 1000, {"network": "network-000001.0.safetensors"})
    (tmp_path / "network-000001.0.safetensors").symlink_to("secret.txt")
    assert record.keep_best(FID) == "" and not (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("line", ['{"metric": "fid5k", "value": %s, "seen": %s}'])
@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "1e400", "NaN", "[" * 100_000, "true", '"12"'])
def test_numbers_that_no_run_writes_are_passed_over(tmp_path, record, line, number):
    with record.path.open("a") as file:
        file.write(line % (number, "3000") + "\n" + line % ("1.5", number) + "\n")
    assert record.best(FID)["seen"] == 2000
    record.rewind(2500)
    assert [entry["seen"] for entry in record.read() if entry["seen"] is not None] == [1000, 2000]


def test_results_are_not_appended_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "metrics.jsonl").symlink_to("mine")
    with pytest.raises(ValueError, match="is a symbolic link"):
        Record(tmp_path).append({"fid5k": 1.0}, 1000, {"network": "n"})
    assert (tmp_path / "mine").read_text() == "mine"
