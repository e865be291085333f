import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from models import places
from models.families import read_network
from models.places import Published
from models.stylegan2.family import PUBLISHED
from tests.networks import save_tiny
from tests.torch_utils.servers import BODY, SHA, Server, plain
from torch_utils.download import sha256


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stylegan2" / "networks"


def locate(place) -> Path:
    return places.locate(place, PUBLISHED)


def refusal(place) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        locate(place)
    return str(error.value)


def test_what_is_there_goes_before_what_a_name_means(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ffhq256").mkdir()
    assert locate("ffhq256") == Path("ffhq256")
    save_tiny(tmp_path / "cifar10")
    assert read_network("cifar10").parts == ["G_ema"]
    assert str(read_network("cifar10")) == "cifar10"


def test_a_path_that_is_not_there_stays_a_path():
    assert locate("a/ffhq256.pkl") == Path("a/ffhq256.pkl")
    assert locate(Path("a.safetensors")) == Path("a.safetensors")


def test_names_are_those_of_the_published_files():
    """Of the files, not of ours: a name that is changed here downloads nothing, or something else."""
    cdn = "https://nvlabs-fi-cdn.nvidia.com"
    ada = f"{cdn}/stylegan2-ada-pytorch/pretrained"
    source = f"{ada}/transfer-learning-source-nets"
    assert PUBLISHED["ffhq256"].url == f"{source}/ffhq-res256-mirror-paper256-noaug.pkl"
    assert PUBLISHED["celebahq256"].url == f"{source}/celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl"
    assert PUBLISHED["lsundog256"].url == f"{source}/lsundog-res256-paper256-kimg100000-noaug.pkl"
    assert PUBLISHED["afhqwild"].url == f"{ada}/afhqwild.pkl"
    assert PUBLISHED["stylegan2-car-config-f"].url == f"{cdn}/stylegan2/networks/stylegan2-car-config-f.pkl"
    ngc = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files"
    assert PUBLISHED["stylegan2-ffhqu-256x256"].url == f"{ngc}/stylegan2-ffhqu-256x256.pkl"
    files = [published.url.rsplit("/", 1)[1] for published in PUBLISHED.values()]
    assert len(set(files)) == len(files) == 32  # so that each can have its own name in the cache


def test_a_name_is_downloaded_once_and_checked(server, cache, monkeypatch):
    url = server.url("whole")
    monkeypatch.setitem(PUBLISHED, "ffhq256", Published(url, SHA))
    for _ in range(2):
        assert locate("ffhq256") == cache / "whole"
    assert (cache / "whole").read_bytes() == BODY and server.asked == ["/whole"]


def test_a_name_whose_file_is_another_is_refused(server, cache, monkeypatch):
    url = server.url("whole")
    monkeypatch.setitem(PUBLISHED, "ffhq256", Published(url, "12345678"))
    assert refusal("ffhq256") == (
        f"the file from {url} is not whole: its digest begins with {SHA[:8]}, not 12345678; "
        f"download it by other means to {cache / 'whole'}"
    )


def test_files_of_one_name_from_two_urls_are_kept_apart(server, cache):
    url = server.url("whole")
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    assert locate(url) == cache / f"{digest}-whole"
    assert locate(url) == cache / f"{digest}-whole" and server.asked == ["/whole"]
    other = Server()
    assert places.cached(other.url("whole"), {}) != places.cached(url, {})
    other.server_close()


def test_the_name_in_the_cache_is_a_plain_one(cache):
    for url in ("https://a.b/../../c%2Fd?e=f", "https://a.b/", "https://a.b/" + 300 * "x" + ".pkl"):
        kept = places.cached(url, {})
        assert kept.parent == cache and len(kept.name) < 101 and "/" not in kept.name


def test_offline_it_says_which_file_to_put_where(server, cache):
    url = server.url("whole")
    server.shutdown()
    server.server_close()
    words = refusal(url)
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    assert words.startswith(f"cannot download {digest}-whole from {url} (")
    assert words.endswith(f"): download it by other means to {cache / f'{digest}-whole'}")


def test_an_unknown_name_gets_the_list_of_them():
    assert refusal("ffhq257").startswith(
        "there is no file or folder ffhq257, and no published network of that name: give a file, a run folder, a URL, "
        "hf://USER/NAME, or the name of a published network; known names are ffhq256, ffhq512, ffhq1024, celebahq256, "
        "lsundog256, ffhq, metfaces, afhqcat, afhqdog, afhqwild, cifar10, brecahad, stylegan2-ffhq-config-f, "
    )
    assert refusal("") == (
        "the place of a network is empty: give a file, a run folder, a URL, hf://USER/NAME, or the name of a published "
        "network"
    )


def test_a_network_from_elsewhere_is_called_by_its_place(server, cache, tmp_path):
    url = server.url("whole")
    save_tiny(locate(url))  # in the place of what was downloaded
    file = read_network(url)
    assert str(file) == file.place == url and file.path == locate(url)
    with pytest.raises(ValueError, match=f"^{url} has no D, only G_ema: take another network file$"):
        file.part("D")


def _module(name: str) -> Any:
    return types.ModuleType(name)


class Hub(types.ModuleType):
    """Stands for huggingface_hub: one repository, and what it was asked for."""

    def __init__(self, folder: Path, *files: str, online: bool = True) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.online = folder, online
        self.asked: list[tuple[str, str, str | None]] = []
        self.errors = _module("huggingface_hub.errors")
        self.errors.EntryNotFoundError = type("EntryNotFoundError", (Exception,), {})
        self.errors.LocalEntryNotFoundError = type("LocalEntryNotFoundError", (self.errors.EntryNotFoundError,), {})
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            if file.endswith(".json"):
                (folder / file).write_text("{}")
            else:
                save_tiny(folder / file)

    def hf_hub_download(self, repository: str, file: str, revision: str | None = None) -> str:
        self.asked.append((repository, file, revision))
        if not self.online:
            raise self.errors.LocalEntryNotFoundError("check your connection\nand more")
        if not (self.folder / file).is_file():
            raise self.errors.EntryNotFoundError(file)
        return str(self.folder / file)

    def list_repo_files(self, repository: str, revision: str | None = None) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    def make(*files: str, online: bool = True) -> Hub:
        found = Hub(tmp_path / "hub", *files, online=online)
        (tmp_path / "hub").mkdir(exist_ok=True)
        monkeypatch.setitem(sys.modules, "huggingface_hub", found)
        monkeypatch.setitem(sys.modules, "huggingface_hub.errors", found.errors)
        return found

    return make


def test_a_repository_of_the_hub_is_its_model_with_the_configuration_beside_it(hub):
    stand_in = hub("model.safetensors", "config.json")
    assert locate("hf://user/some.name") == stand_in.folder / "model.safetensors"
    assert stand_in.asked == [("user/some.name", "model.safetensors", None), ("user/some.name", "config.json", None)]
    assert str(read_network("hf://user/some.name")) == "hf://user/some.name"


def test_a_repository_without_a_configuration_will_do(hub):
    stand_in = hub("model.safetensors")
    assert locate("hf://user/name") == stand_in.folder / "model.safetensors"


def test_a_revision_and_a_file_are_taken_as_they_are_given(hub):
    stand_in = hub("model.safetensors", "nets/a.pkl")
    assert locate("hf://user/name@v1.0/nets/a.pkl") == stand_in.folder / "nets/a.pkl"
    assert stand_in.asked == [("user/name", "nets/a.pkl", "v1.0")]
    locate("hf://user/name@main")
    assert stand_in.asked[1:] == [("user/name", "model.safetensors", "main"), ("user/name", "config.json", "main")]


def test_the_only_network_of_a_repository_is_meant(hub):
    stand_in = hub("nets/only.pt", "README.md")
    assert locate("hf://user/name") == stand_in.folder / "nets/only.pt"


def test_of_several_one_must_be_named(hub):
    hub("b.pkl", "a.pkl", "README.md")
    assert refusal("hf://user/name") == (
        "hf://user/name has a.pkl, b.pkl and no model.safetensors: name a file, such as hf://user/name/NAME.pkl"
    )


def test_a_repository_without_networks_is_refused(hub):
    hub("README.md")
    assert refusal("hf://user/name") == (
        "hf://user/name has no network file and no model.safetensors: name a file, such as hf://user/name/NAME.pkl"
    )
    assert refusal("hf://user/name/a.pkl") == "hf://user/name/a.pkl: the repository has no file a.pkl"


def test_without_the_hub_it_says_which_file_to_fetch(hub):
    hub(online=False)
    assert refusal("hf://user/name") == (
        "cannot download model.safetensors of hf://user/name (check your connection): download it from "
        "https://huggingface.co/user/name by other means, and give its path"
    )


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refusal("hf://user/name") == "hf://user/name needs a package: pip install huggingface_hub"


@pytest.mark.parametrize("place", ["hf://", "hf://user", "hf://user/name@", "hf:///name", "hf://us er/name"])
def test_what_is_no_place_on_the_hub_is_refused(place):
    assert (
        refusal(place) == f"{place} is not a place on the Hub: give hf://USER/NAME, optionally with @REVISION and /FILE"
    )


def test_a_url_that_once_answered_with_a_page_is_fetched_again(server, tmp_path, capsys):
    network = save_tiny(tmp_path / "tiny.safetensors").read_bytes()
    url = server.url("net.safetensors")
    server.answers["net.safetensors"] = plain(b"<!doctype html><title>come back later</title>")
    with pytest.raises(ValueError, match=rf"^the file from {url} is a web page; download it by other means to "):
        read_network(url)
    server.answers["net.safetensors"] = plain(network)
    assert read_network(url).parts == read_network(url).parts == ["G_ema"] and len(server.asked) == 2
    kept = locate(url)
    kept.write_bytes(b"<!doctype html>")  # as earlier versions of this program have kept it
    assert read_network(url).parts == ["G_ema"] and len(server.asked) == 3
    assert f"the cached file of {url} is a web page: downloading it again\n" in capsys.readouterr().err


@pytest.mark.parametrize("size", [100, -1])
def test_half_a_network_is_not_kept(server, cache, tmp_path, size):
    network = save_tiny(tmp_path / "tiny.safetensors").read_bytes()
    url = server.url("net.safetensors?signature=secret")
    server.answers["net.safetensors"] = plain(network[:size])
    with pytest.raises(ValueError) as error:
        read_network(url)
    shown = server.url("net.safetensors?...")
    assert str(error.value).startswith(f"the file from {shown} cannot be used (it is damaged (it is cut short")
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]
    server.answers["net.safetensors"] = plain(network)
    assert str(read_network(url)) == shown


def test_a_network_may_be_pinned_by_its_digest(server, cache, hub):
    stand_in = hub("model.safetensors")
    digest = sha256(stand_in.folder / "model.safetensors")
    server.answers["a"] = plain((stand_in.folder / "model.safetensors").read_bytes())
    for place in (server.url("a"), "hf://user/name"):
        assert read_network(f"{place}#sha256={digest}").parts == ["G_ema"]
        with pytest.raises(ValueError, match=rf"its digest begins with {digest[:8]}, not 00000000"):
            read_network(f"{place}#sha256={'0' * 64}")


def test_long_urls_and_schemes_in_any_case_are_urls(server, tmp_path):
    server.answers["a"] = plain(save_tiny(tmp_path / "a.safetensors").read_bytes())
    assert read_network(server.url("a").replace("http", "HTTP") + f"?signature={'x' * 3000}").parts == ["G_ema"]
    with pytest.raises(ValueError, match=r"^http://\[ is not a URL: expected one such as https://host/path/file$"):
        locate("http://[")
