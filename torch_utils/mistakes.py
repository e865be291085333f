"""Explains typing mistakes: options of other programs, words without an option, options where a value is expected."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

# Names of options in other programs, and the options to use instead (separated by blanks, or by semicolons where they
# have values). The first option that the command has is offered.
SYNONYMS = (
    ("dataset dataroot data-dir data-path train-data image-folder images", "--data --source --images --target"),
    ("input input-dir in src", "--source --target --data"),
    ("image img picture photo file target-image", "--target --source --images --data"),
    ("output output-dir out outfile save-dir results result-dir logdir log-dir dir dest outdir",
     "--outdir --dest --out --sheet"),
    ("cond conditional class-cond", "--labels --class"),
    ("class-idx class-index class-id label num-classes n-classes labels", "--class --labels"),
    ("subset max-size max-samples num-train limit nimages", "--max-images"),
    ("xflip x-flip hflip flip horizontal-flip", "--mirror"),
    ("resolution size image-size img-size crop-size target-size width height",
     "--resolution; --scale; python dataset_tool.py --resolution to bring the pictures to one size"),
    ("outvid video movie mp4", "--film --format"),
    ("pkl network-pkl ckpt checkpoint model weights generator pretrained network load",
     "--network --transfer --source"),
    ("finetune fine-tune init-from resume-pkl transfer-from", "--transfer --network"),
    ("resume-from continue restore load-checkpoint auto-resume", "--resume --network"),
    ("seed random-seed seeds", "--seeds --seed --rows"),
    ("n num num-samples n-samples samples num-images n-images count", "--seeds --max-images"),
    ("row-seeds", "--rows"),
    ("col-seeds columns", "--cols"),
    ("col-styles style style-layers layers", "--styles --layers"),
    ("latent w ws projected projected-latent npz", "--latents"),
    ("truncation trunc truncation-psi psi", "--psi --psis"),
    ("truncation-cutoff trunc-cutoff", "--psi-cutoff"),
    ("noise randomize-noise", "--noise-mode"),
    ("grid-size nrow ncol", "--grid"),
    ("num-frames w-frames n-frames nframes duration", "--frames"),
    ("cfg config configuration", "--preset"),
    ("lr learning-rate glr dlr", "--rate; --set optimizer.g_lr=0.002 --set optimizer.d_lr=0.002"),
    ("batch-size batchsize bs minibatch", "--batch"),
    ("microbatch gradient-accumulation gradient-accumulate-every batch-per-gpu", "--batch-gpu"),
    ("epochs n-epochs iter iters iterations num-steps max-steps total-steps train-steps steps total-kimg",
     "--steps --kimg --frames"),
    ("snapshot snapshot-interval save-every save-interval save-freq checkpoint-every", "--snap"),
    ("log-every log-interval print-freq", "--tick"),
    ("r1 r1-gamma reg gradient-penalty", "--gamma"),
    ("freezed freeze", "--freeze-d"),
    ("augment augmentation ada use-ada", "--aug"),
    ("cbase channel-base fmap-base fmaps channel-multiplier network-capacity",
     "--set generator.channel_base=16384 --set discriminator.channel_base=16384"),
    ("metric fid eval eval-metrics", "--metrics"),
    ("gpu num-gpus n-gpus ngpus nproc world-size", "--gpus --device"),
    ("cuda cpu no-cuda use-cuda", "--device"),
    ("fp16 half amp use-amp mixed-precision bf16 fp32 tf32 dtype", "--precision --dtype"),
    ("num-workers n-workers threads num-threads jobs", "--workers"),
    ("gradient-checkpointing grad-checkpoint", "--checkpoint-activations"),
)  # fmt: skip

# Endings of files, and the options that take such a file, the likeliest first.
ENDINGS = (
    (".safetensors .pkl .pt .pth .ckpt", "--network --transfer --source --with"),
    (".npz .npy", "--latents"),
    (".jpg .jpeg .png .webp .bmp .gif .tif .tiff", "--target --source --images --data"),
    (".csv .json", "--labels"),
    (".zip .tar .tgz .gz .parquet .tfrecords .mp4", "--data --source --images --target"),
    (".onnx .pt2", "--dest"),
)
_FOLDER, _RUN, _SEEDS = "--data --source --images --target --network", "--network --resume --source", "--seeds --rows"


def replacement(command: click.Command, name: str) -> str:
    """Return the option to use instead of `name`, an option that the command does not have, or ""."""
    known, plain = _options(command), name.lstrip("-").replace("_", "-").lower()
    for words, offers in SYNONYMS:
        if plain in words.split():
            fitting = offers.split("; ") if "; " in offers or "=" in offers else offers.split()
            return next((offer for offer in fitting if offer.split()[0] in {*known, "python"}), "")
    return ""


def stray(command: click.Command, arguments: Sequence[str], word: str) -> str:
    """Say what to do about `word`, an argument that belongs to no option.

    Args:
        command: the command that was called.
        arguments: everything that was typed after its name.
        word: one of the arguments.
    """
    known, place = _options(command), list(arguments).index(word)
    names = {text.partition("=")[0] for text in arguments if text.startswith("--")}
    typed = {param.opts[0] for name, param in known.items() if name in names}
    if f"--{word.partition('=')[0]}" in known:
        return f"{word} has no dashes before it: give --{word}"
    lead = next((i for i in range(place - 1, -1, -1) if arguments[i].startswith("--")), None)
    param = None if lead is None else known.get(arguments[lead].partition("=")[0])
    if param is not None and lead == place - 1 and (param.is_flag or param.count):
        return f"{arguments[lead]} takes no value: leave out {word}"
    pair = ["--source", "--dest"]
    meant = pair if set(pair) <= known.keys() else _meant(word)
    offer = next((name for name in meant if name in known and name not in typed), "")
    if offer:
        return f"{word} has no option before it: give {offer} {word}"
    if param is not None:
        return (
            f"{param.opts[0]} takes one value: join several with commas (1,2,3), and put quotes around blanks and "
            f"patterns"
        )
    return f"unexpected argument {word}: options begin with --, and --help lists them"


def is_option(command: click.Command, value: object) -> bool:
    """Whether a value is itself an option of the command, as in `--data --mirror`."""
    return isinstance(value, str) and value.startswith("--") and value in _options(command)


def spellings(param: click.Option) -> list[str]:
    """Return all spellings of an option, including the ones that switch it off."""
    return [*param.opts, *param.secondary_opts]


def _options(command: click.Command) -> dict[str, click.Option]:
    params = [param for param in command.params if isinstance(param, click.Option)]
    return {name: param for param in params for name in spellings(param)}


def _meant(word: str) -> list[str]:
    """Return the options that a word may be meant for, the likeliest first."""
    path = Path(word)
    if path.is_dir():
        return (_RUN if (path / "config.json").is_file() else _FOLDER).split()
    if word.lower() == "latest":
        return ["--resume"]
    if re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", word):
        return _SEEDS.split()
    ending = path.suffix.lower()
    return next((options.split() for endings, options in ENDINGS if ending and ending in endings.split()), [])
