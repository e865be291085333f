"""Names of options in other programs, and the options to use instead."""

import click

# Other names -> options, separated by blanks. The first option that the command has is offered.
SYNONYMS = {
    "dataset dataroot data-dir data-path image-folder images": "--data --source --images --target",
    "input input-dir image img picture photo": "--source --target --data --images",
    "output output-dir out save-dir results logdir dest outdir": "--outdir --dest --sheet",
    "cond conditional label class-idx num-classes labels": "--labels --class",
    "max-samples subset limit": "--max-images",
    "xflip flip hflip horizontal-flip": "--mirror",
    "outvid video movie": "--film --format",
    "pkl network-pkl ckpt checkpoint model weights pretrained": "--network --transfer --source",
    "finetune fine-tune resume-pkl": "--transfer --network",
    "continue restore load-checkpoint": "--resume --network",
    "seed random-seed seeds row-seeds": "--seeds --seed --rows",
    "n num num-samples num-images": "--seeds --max-images",
    "truncation trunc truncation-psi psi": "--psi --psis",
    "grid-size nrow": "--grid",
    "num-frames w-frames duration": "--frames",
    "cfg config": "--preset",
    "lr learning-rate": "--rate",
    "batch-size bs minibatch": "--batch",
    "size image-size img-size": "--resolution --scale",
    "epochs iterations max-steps total-kimg": "--steps --kimg",
    "snapshot save-every save-interval": "--snap",
    "r1 r1-gamma": "--gamma",
    "augment ada": "--aug",
    "metric fid": "--metrics",
    "gpu num-gpus nproc": "--gpus --device",
    "fp16 amp mixed-precision dtype": "--precision --dtype",
    "num-workers threads": "--workers",
}


def replacement(command: click.Command, name: str) -> str:
    """Return the option to use instead of `name`, an option that the command does not have, or ""."""
    plain = name.lstrip("-").replace("_", "-").lower()
    offers = next((offers for words, offers in SYNONYMS.items() if plain in words.split()), "")
    return next((offer for offer in offers.split() if is_option(command, offer)), "")


def is_option(command: click.Command, value: object) -> bool:
    """Whether a value is itself an option of the command, as in `--data --mirror`."""
    known = [name for param in command.params if isinstance(param, click.Option) for name in spellings(param)]
    return isinstance(value, str) and value.startswith("--") and value in known


def spellings(param: click.Option) -> list[str]:
    """Return all spellings of an option, including the ones that switch it off."""
    return [*param.opts, *param.secondary_opts]
