"""Find the latents of pictures: photographs, or what a network made."""

import system.start  # noqa: F401 (first)

from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from imaging.film import write_film
from imaging.grid import LARGEST_SHEET, save_image
from imaging.pixels import to_images, to_pil
from models.families import save_network
from models.stylegan2.latentfile import Latents, save_ws
from models.stylegan2.pivotal import Tuning, TuningSettings
from models.stylegan2.projector import NoiseFit, Settings, Space
from sampling.options import projection_options, write_record
from sampling.refusals import check_film_name, refuse
from sampling.sampler import Sampler
from sampling.stylegan2.loss import LOSSES, open_loss
from sampling.stylegan2.projection import Film, Made, Run, compare, facts, spoken
from sampling.stylegan2.targets import Target, read_targets
from system.text import printable
from torch_utils.cli import Command, counted, option, progress, say

EXAMPLES = """
Examples:
  python project.py --target photo.jpg
  python project.py --target photos/ --network ffhq256.safetensors --loss lpips --pti
  python project.py --target a.png,b.png --space w --steps 300 --class happy --film none
  python generate.py --latents out/projected-w.npz                pictures of the latents that were found
"""
LATENTS, SHEET, TUNED = "projected-w.npz", "projection.png", "network-tuned.safetensors"
TOLD = 10  # targets at most that have a line of their own in the terminal
KEPT = ("kimg", "data")  # of what the network's file says, for the tuned one


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--target",
    "places",
    multiple=True,
    required=True,
    metavar="PATH[,PATH...]",
    group="Pictures",
    help="pictures of any size, or a folder or ZIP of them; give the option again for more",
)
@projection_options()
@option(
    "--space", type=click.Choice(["w", "w+"]), default="w+", group="Projection", help="one w, or one for each layer"
)
@option("--steps", type=click.IntRange(1), default=1000, group="Projection", help="of the optimisation")
@option(
    "--rate", type=click.FloatRange(0, 10, min_open=True), default=0.1, group="Projection", help="of learning, at most"
)
@option(
    "--noise-mode",
    "noise",
    type=click.Choice(["fit", "const", "none"]),
    default="fit",
    group="Projection",
    help="noise of the synthesis: found together with w, the network's own, or none",
)
@option(
    "--loss",
    type=click.Choice(["auto", *LOSSES]),
    default="auto",
    group="Projection",
    help="; ".join(f"{name}: {words}" for name, words in LOSSES.items()) + "; auto: lpips where a detector is given",
)
@option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME=PATH",
    group="Projection",
    help="file or URL of what lpips looks with, instead of the published one: vgg16, lpips; #sha256=DIGEST after it "
    "names the content",
)
@option("--trust", is_flag=True, group="Projection", help="run files of --detector that are programs (TorchScript)")
@option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, group="Projection", help="of all that is drawn")
@option("--pti", is_flag=True, group="Tuning", help=f"tune the network to the pictures, too: {TUNED}")
@option("--pti-steps", type=click.IntRange(1), default=350, group="Tuning", help="of the tuning")
@option(
    "--locality",
    type=click.FloatRange(0, 100),
    default=0.0,
    group="Tuning",
    help="weight of locality regularisation, 0.1 in the paper: other pictures change less",
)
@option(
    "--film",
    default="projection.mp4",
    group="Output",
    help="name of the film: .mp4, .gif or .webp, without an ending a folder of frames; none for no film",
)
def main(
    sampler: Sampler,
    places: tuple[str, ...],
    space: Space,
    steps: int,
    rate: float,
    noise: NoiseFit,
    loss: str,
    detectors: tuple[str, ...],
    trust: bool,
    seed: int,
    pti: bool,
    pti_steps: int,
    locality: float,
    film: str,
) -> None:
    """Find the latents w that show given pictures (Karras et al. 2020, appendix D; in W+ Abdal et al. 2019).

    Writes projected-w.npz, projected0000.png and so on, all beside their targets on projection.png, and the film of
    the search. With --pti the network is tuned to the pictures besides (Roich et al. 2021): tuned0000.png and so on.
    """
    _check(pti, film, sampler.outdir)
    G = sampler.stylegan2("project.py")
    sampler = replace(sampler, noise_mode="none" if noise == "none" else "const")
    size = (G.config.height, G.config.width)
    targets = read_targets(places, G.config, say)
    _check_sheet(len(targets), 3 if pti else 2, size)
    loss, embed = open_loss(loss, detectors, size, sampler.device, trust)
    _introduce(targets, loss, sampler.batch)
    pixels = torch.stack([target.pixels for target in targets])
    images = to_images(pixels).to(sampler.device)

    run = Run(G, images, embed, Settings(space, steps, rate, noise, seed), sampler.batch, sampler.label)
    if run.batches > 1:
        _estimate(run, pti_steps if pti else 0, sampler)
    watched = Film(pixels, steps)
    for seen in progress(run, len(run), "steps", lambda: f"loss {run.loss:.4f}"):
        watched.add(*seen)
    latents = run.latents
    save_ws(sampler.outdir / LATENTS, *latents)
    made = [Made("projected", run.losses, sampler.latent_pixels(latents), pixels)]
    if pti:
        settings = TuningSettings(pti_steps, locality=locality, noise=noise, batch=sampler.batch, seed=seed)
        tuning = Tuning(G, *latents, images, embed, settings, run.scale)
        made.append(_tune(sampler, latents, tuning, pixels))

    for result in made:
        for n, picture in enumerate(result.pixels):
            save_image(to_pil(picture), sampler.outdir / f"{result.name}{n:04d}.png")
    save_image(compare(pixels, made), sampler.outdir / SHEET)
    if film != "none":
        write_film(sampler.outdir / film, watched.frames())
    write_record("project", sampler, loss=loss, targets=facts(targets, run.classes, made))
    _tell(sampler, targets, made, film)


def _check(pti: bool, film: str, outdir: Path) -> None:
    if not pti:
        refuse(["pti_steps", "locality"], "without --pti")
    if film != "none":
        check_film_name(film, outdir)


def _check_sheet(targets: int, columns: int, size: tuple[int, int]) -> None:
    most = LARGEST_SHEET // (columns * size[0] * size[1])
    if targets > most:
        raise ValueError(
            f"--target names {targets} pictures, and at most {most} of this size fit on {SHEET}: give fewer"
        )


def _introduce(targets: list[Target], loss: str, batch: int) -> None:
    """How many there are, and what was done to the first of them."""
    batches = f" in batches of {batch}" if len(targets) > batch else ""
    say(f"{counted(len(targets), 'target')}{batches}; loss {loss}: {LOSSES[loss]}")
    changed = [f"{printable(target.name)}: {'; '.join(target.changes)}" for target in targets if target.changes]
    for line in changed[:TOLD]:
        say(line)
    if len(changed) > TOLD:
        say(f"... and {len(changed) - TOLD} more targets were made to fit likewise; project.json names them all")


def _estimate(run: Run, tuning_steps: int, sampler: Sampler) -> None:
    """How long it will take, which with many targets may be days."""
    steps = run.batches * (run.settings.steps + tuning_steps)
    shorter = "fewer targets or --steps" + ("" if sampler.device.type == "cuda" else ", or a GPU,")
    took = spoken(steps * run.seconds_per_step())
    say(f"about {took} on this {sampler.device.type} ({steps:,} steps of a batch); {shorter} take less")


def _tune(sampler: Sampler, latents: Latents, tuning: Tuning, pixels: Tensor) -> Made:
    """Tunes a copy of the network, and writes it."""
    steps = tuning.settings.steps
    for _ in progress(range(steps), steps, "tuning", lambda: f"loss {tuning.losses.mean():.4f}"):
        tuning.step()
    G = tuning.finish().fold()
    facts = {name: sampler.file.metadata[name] for name in KEPT if name in sampler.file.metadata}
    facts["tuned"] = {"from": str(sampler.file), "steps": steps, "targets": len(pixels)}
    save_network(sampler.outdir / TUNED, "stylegan2", {"G_ema": G}, facts)
    return Made("tuned", tuning.losses, replace(sampler, G=G).latent_pixels(latents), pixels)


def _tell(sampler: Sampler, targets: list[Target], made: list[Made], film: str) -> None:
    for n, target in enumerate(targets[:TOLD]):
        say(f"{printable(target.name)}: " + ", ".join(f"{result.name} {result.psnr[n]:.1f} dB" for result in made))
    if len(targets) > TOLD:
        say(f"... and {len(targets) - TOLD} more, in project.json")
    files = [LATENTS, counted(len(targets) * len(made), "picture"), SHEET]
    files += [TUNED] if len(made) > 1 else []
    files += [film] if film != "none" else []
    say(f"wrote {', '.join(files)} and project.json to {sampler.outdir}")


if __name__ == "__main__":
    main()
