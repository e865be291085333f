"""Pickles of the structure of official ones, written with stand-ins for the classes that they name."""

import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
_BUFFERS = ("noise_const", "resample_filter", "w_avg")


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("nothing in a file is run")


class EasyDict(dict[str, Any]):
    """As kwargs of official training are."""


class Network:
    """A TensorFlow network."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


class Module:
    """A module of an official PyTorch network; pickled as theirs are, with the source of its class."""

    source = "raise AssertionError('the source in a file is run')"

    def __init__(self, class_name: str, fields: dict[str, Any]) -> None:
        self.class_name = class_name
        self.state: dict[str, Any] = {"training": False, "_parameters": {}, "_buffers": {}}
        self.state |= {"_non_persistent_buffers_set": set(), "_modules": {}} | fields

    def __reduce__(self) -> Any:
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": self.class_name}
        return _reconstruct_persistent_obj, (meta | {"state": self.state},), None

    def __getitem__(self, name: str) -> "Module":
        """The module within, by its dotted name."""
        module = self
        for part in name.split(".") if name else []:
            module = module.state["_modules"][part]
        return module


@contextmanager
def stand_ins() -> Iterator[None]:
    """For the time of writing, the official modules seem to be there, with what pickles name in them."""
    homes: dict[str, Any] = {
        "torch_utils.persistence": _reconstruct_persistent_obj,
        "dnnlib.util": EasyDict,
        "dnnlib.tflib.network": Network,
    }
    there = {home: types.ModuleType(home) for home in ("dnnlib", "dnnlib.tflib", *homes)}
    assert not there.keys() & sys.modules.keys()
    for home, thing in homes.items():
        setattr(there[home], thing.__name__, thing)
        thing.__module__ = home
    sys.modules.update(there)
    try:
        yield
    finally:
        for home in there:
            del sys.modules[home]
        for thing in homes.values():
            thing.__module__ = __name__


def pickled(value: Any, protocol: int = 4) -> bytes:
    """The pickle of a value that may contain stand-ins."""
    with stand_ins():
        return pickle.dumps(value, protocol=protocol)


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    """A file of that pickle."""
    path.write_bytes(pickled(value, protocol))
    return path


def generator(tensors: dict[str, Tensor], flat: bool = False, **settings: Any) -> Module:
    """The official generator of these tensors, by official names.

    Args:
        tensors: all but the filters.
        flat: whether options of the synthesis network stand beside the others, as StyleGAN3 has them.
        settings: `conv_clamp`.
    """
    sizes = sorted({int(m[1]) for name in tensors if (m := re.match(r"synthesis\.b(\d+)\.", name))})
    top, w_dim = sizes[-1], len(tensors["mapping.w_avg"])
    embed = tensors.get("mapping.embed.weight", torch.zeros(0, 0))
    channels = len(tensors[f"synthesis.b{top}.torgb.weight"])
    facts = {"z_dim": tensors["mapping.fc0.weight"].shape[1] - len(embed), "c_dim": embed.shape[1], "w_dim": w_dim}
    facts |= {"img_resolution": top, "img_channels": channels}
    widths = [len(tensors[f"synthesis.b{size}.conv1.weight"]) for size in sizes]
    options = {"channel_base": widths[-1] * top, "channel_max": max(widths), "num_fp16_res": 0, **settings}
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.bias", name) is not None for name in tensors)
    kwargs = facts | {"mapping_kwargs": EasyDict(num_layers=layers)}
    kwargs |= (
        {"fused_modconv_default": "inference_only", **options} if flat else {"synthesis_kwargs": EasyDict(options)}
    )
    num_ws = 2 * len(sizes)
    G = Module("Generator", facts | {"num_ws": num_ws, "_init_args": (), "_init_kwargs": EasyDict(kwargs)})
    architecture = _architecture(tensors, "torgb", f"synthesis.b{top}.")
    for name, tensor in tensors.items():
        _place(G, name, tensor, lambda path: _generator_module(path, flat, architecture, **settings))
    G["synthesis"].state["num_ws"] = num_ws
    for path in [f"synthesis.b{size}{layer}" for size in sizes for layer in ("", ".conv0", ".conv1")]:
        if path != "synthesis.b4.conv0":
            G[path].state["_buffers"]["resample_filter"] = FILTER.clone()
    return G


def discriminator(
    tensors: dict[str, Tensor],
    frozen: Callable[[str], bool] = lambda name: False,
    group: int | None = 4,
    conv_clamp: float | None = None,
) -> Module:
    """The official discriminator of these tensors; `frozen` tells whose weights lie among the buffers."""
    top = max(int(m[1]) for name in tensors if (m := re.match(r"b(\d+)\.", name)))
    embed = tensors.get("mapping.embed.weight", torch.zeros(0, 0))
    facts = {"c_dim": embed.shape[1], "img_resolution": top, "img_channels": tensors[f"b{top}.fromrgb.weight"].shape[1]}
    kwargs = facts | {
        "block_kwargs": EasyDict(freeze_layers=10),
        "mapping_kwargs": EasyDict(),
        "conv_clamp": conv_clamp,
    }
    kwargs["epilogue_kwargs"] = EasyDict(mbstd_group_size=group)
    D = Module("Discriminator", facts | {"_init_args": (), "_init_kwargs": EasyDict(kwargs)})
    architecture = _architecture(tensors, "fromrgb", f"b{top}.")
    for name, tensor in tensors.items():
        _place(D, name, tensor, lambda path: _discriminator_module(path, architecture, conv_clamp), frozen(name))
    mbstd = Module("MinibatchStdLayer", {"group_size": group, "num_channels": 1})
    D["b4"].state["_modules"]["mbstd"] = mbstd
    for name in tensors:
        if re.fullmatch(r"b\d+\.(conv\d?|skip|fromrgb)\.weight", name):
            D[name.removesuffix(".weight")].state["_buffers"]["resample_filter"] = FILTER.clone()
    return D


def training_file(G: Module | None, D: Module | None, G_ema: Module | None) -> dict[str, Any]:
    """What official training pickles."""
    about = EasyDict(class_name="training.dataset.ImageFolderDataset", path="/data/faces.zip", max_size=np.int64(7))
    return {"training_set_kwargs": about, "G": G, "D": D, "G_ema": G_ema, "augment_pipe": None}


def _architecture(tensors: dict[str, Tensor], rgb: str, top: str) -> str:
    if any(name.endswith("skip.weight") for name in tensors):
        return "resnet"
    return "skip" if any(f".{rgb}." in f".{name}" and not name.startswith(top) for name in tensors) else "orig"


def _place(root: Module, name: str, tensor: Tensor, module: Callable[[str], Module], frozen: bool = False) -> None:
    *parents, leaf = name.split(".")
    here, path = root, ""
    for part in parents:
        path = f"{path}.{part}" if path else part
        inner = here.state["_modules"]
        if part not in inner:
            inner[part] = module(path)
        here = inner[part]
    if leaf in _BUFFERS or frozen:
        here.state["_buffers"][leaf] = tensor
    else:
        here.state["_parameters"][leaf] = nn.Parameter(tensor, requires_grad=False)
    if leaf == "weight" and here.class_name in ("FullyConnectedLayer", "Conv2dLayer", "ToRGBLayer"):
        rate = 0.01 if re.search(r"mapping\.fc\d+$", path) else 1
        here.state["weight_gain"] = rate / np.sqrt(tensor[0].numel())
        if here.class_name == "FullyConnectedLayer":
            here.state["bias_gain"] = rate


def _generator_module(path: str, flat: bool, architecture: str, conv_clamp: float | None = None) -> Module:
    last = path.rpartition(".")[2]
    if path in ("mapping", "synthesis"):
        return Module("MappingNetwork" if path == "mapping" else "SynthesisNetwork", {})
    if re.fullmatch(r"b\d+", last):
        block = {"architecture": architecture, "use_fp16": False} | ({"fused_modconv_default": True} if flat else {})
        return Module("SynthesisBlock", block)
    if last in ("conv0", "conv1"):
        layer = {"use_noise": True, "padding": 1, "activation": "lrelu", "conv_clamp": conv_clamp}
        return Module("SynthesisLayer", layer | {"act_gain": np.sqrt(2)})
    if last == "torgb":
        return Module("ToRGBLayer", {"conv_clamp": conv_clamp})
    if last == "skip":
        return _shortcut()
    return _dense(last)


def _shortcut() -> Module:
    return Module("Conv2dLayer", {"activation": "linear", "conv_clamp": None, "bias": None})


def _discriminator_module(path: str, architecture: str, conv_clamp: float | None) -> Module:
    last = path.rpartition(".")[2]
    if path == "mapping":
        return Module("MappingNetwork", {"num_ws": None, "w_avg_beta": None})
    if re.fullmatch(r"b\d+", path):
        kind = "DiscriminatorEpilogue" if path == "b4" else "DiscriminatorBlock"
        return Module(kind, {"architecture": architecture})
    if last == "skip":
        return _shortcut()
    if last.startswith(("conv", "fromrgb")):
        return Module("Conv2dLayer", {"activation": "lrelu", "conv_clamp": conv_clamp})
    return _dense(last)


def _dense(last: str) -> Module:
    return Module("FullyConnectedLayer", {"activation": "lrelu" if last.startswith("fc") else "linear"})


def tensorflow_networks(G: dict[str, Tensor], D: dict[str, Tensor], **kwargs: Any) -> tuple[Network, Network, Network]:
    """The tuple of an official TensorFlow pickle, from tensors of official PyTorch names."""
    return tuple(_network(letter, tensors, **kwargs) for letter, tensors in (("G", G), ("D", D), ("Gs", G)))  # type: ignore[return-value]


def _network(name: str, tensors: dict[str, Tensor], **kwargs: Any) -> Network:
    """Variables of `mapping/` and `synthesis/` belong to networks of these names within a generator."""
    variables: dict[str, Any] = dict(_variable(theirs, tensor.numpy()) for theirs, tensor in tensors.items())
    variables["lod"] = np.float32(0)
    parts = {}
    for part in ("mapping", "synthesis") if name != "D" else ():
        own = {key: value for key, value in variables.items() if key.startswith(part + "/")}
        parts[part] = _state(part, [(key.removeprefix(part + "/"), value) for key, value in own.items()], {}, {})
        variables = {key: value for key, value in variables.items() if key not in own}
    return _state(name, list(variables.items()), parts, kwargs)


def _state(name: str, variables: list[Any], parts: dict[str, Network], kwargs: dict[str, Any]) -> Network:
    about = {"version": 4, "name": name, "build_module_src": Module.source, "build_func_name": "build"}
    return Network(**about, static_kwargs=EasyDict(kwargs), components=EasyDict(parts), variables=variables)


def _variable(name: str, x: np.ndarray) -> tuple[str, np.ndarray]:
    """Name and numbers of a tensor as TensorFlow had them."""
    if name == "mapping.w_avg":
        return "dlatent_avg", x
    if name == "synthesis.b4.const":
        return "synthesis/4x4/Const/const", x[None]
    path, _, leaf = name.rpartition(".")
    where = re.sub(r"^b4\.(fc|out)", lambda m: {"fc": "4x4/Dense0", "out": "Output"}[m[1]], path)
    if leaf == "noise_const":
        number = 2 * int(np.log2(len(x))) - 4 - ("conv0" in path)
        return f"synthesis/noise{max(number, 0)}", x[None, None]
    where = re.sub(r"^mapping\.fc", "mapping/Dense", where).replace("mapping.embed", "mapping/LabelEmbed")
    where = where.replace("synthesis.b4.conv1", "synthesis/4x4/Conv").replace("b4.conv", "4x4/Conv")
    where = re.sub(r"\bb(\d+)\.", r"\1x\1/", where.replace("synthesis.", "synthesis/"))
    if where.startswith("synthesis"):
        where = where.replace("conv0", "Conv0_up").replace("conv1", "Conv1").replace("torgb", "ToRGB")
        where = where.replace("skip", "Skip")
    else:
        where = where.replace("conv0", "Conv0").replace("conv1", "Conv1_down").replace("fromrgb", "FromRGB")
        where = where.replace("skip", "Skip")
    styled = where.endswith(".affine")
    leaf = f"mod_{leaf}" if styled else leaf
    if styled and leaf == "mod_bias":
        x = x - np.float32(1)
    if x.ndim == 4:
        x = (x[:, :, ::-1, ::-1] if "Conv0_up" in where else x).transpose(2, 3, 1, 0)
    if x.ndim == 0:
        return f"{where}/{leaf}", x[()]  # a number, as TensorFlow gave what has no dimensions
    return f"{where.removesuffix('.affine')}/{leaf}", np.ascontiguousarray(x.T if x.ndim == 2 else x)
