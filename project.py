"""Find the latents of pictures: photographs, or pictures that a network made."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click
import torch

from imaging.film import write_film
from imaging.grid import check_sheet, save_image
from imaging.pixels import to_images, to_pil
from models.families import save_network
from models.perceptual.detectoroptions import detector_options
from models.stylegan2 import generator as generators
from models.stylegan2 import latents as latentfile
from models.stylegan2 import projector
from models.stylegan2 import sampler as stylesampler
from models.stylegan2.choices import StyleOptions
from sampling.command import Opened, check_film_name, options, refuse, sampling_options, write_record
from sampling.stylegan2 import pictures, projection
from sampling.stylegan2 import targets as targeting
from system.text import printable
from torch_utils.cli import Command, counted, progress, say

EXAMPLES = """
Examples:
  python project.py --target photo.jpg
  python project.py --target photos/ --network ffhq256.safetensors --loss lpips --pti
  python project.py --target a.png,b.png --space w --steps 300 --class happy --film none
  python generate.py --latents out/projected-w.npz                pictures of the latents that were found
"""
LATENTS, SHEET, TUNED = "projected-w.npz", "projection.png", "network-tuned.safetensors"
TOLD = 10  # targets at most that have their own line in the terminal
KEPT = ("kimg", "data")  # metadata of the network's file that the tuned one keeps
NOISES = click.Choice(["fit", "const", "none"])
LOSSES = {
    "lpips": "LPIPS and the mean squared error of the pixels",
    "pixels": "pixels and gradients at several sizes",
}
COMPARED = "; ".join(f"{name}: {words}" for name, words in LOSSES.items())
ENDINGS = "name of the film: .mp4, .gif or .webp, without an ending a folder of frames; none for no film"
TARGETS = "pictures of any size, or a folder or ZIP of them; give the option again for more"


@click.command(cls=Command, epilog=EXAMPLES)
@options("Pictures", ("--target places", "PATH[,PATH...]", None, TARGETS, {"multiple": True, "required": True}))
@sampling_options(
    model=StyleOptions,
    names=[],
    seeded=False,
    label="number or name of the class to start from; default: the class whose average image is nearest to the target",
    batch="targets that are optimized at once: more is faster and takes more memory",
    default_batch=8,
    engine=False,
)
@options(
    "Projection",
    ("--space", click.Choice(["w", "w+"]), "w+", "one w, or one for each layer"),
    ("--steps", click.IntRange(1), 1000, "steps of the optimization"),
    ("--rate", click.FloatRange(0, 10, min_open=True), 0.1, "maximum learning rate"),
    ("--noise-mode noise", NOISES, "fit", "noise of the synthesis: found together with w, the network's own, or none"),
    ("--loss", click.Choice(["auto", *LOSSES]), "auto", f"{COMPARED}; auto: lpips if a detector is given"),
)
@detector_options("Projection", "vgg16, lpips")
@options("Projection", ("--seed", click.IntRange(0, 2**32 - 1), 0, "random seed"))
@options(
    "Tuning",
    ("--pti", bool, False, f"tune the network to the pictures, too: {TUNED}"),
    ("--pti-steps", click.IntRange(1), 350, "steps of the tuning"),
    ("--locality", click.FloatRange(0, 100), 0.0, "weight of the penalty on changes elsewhere, 0.1 in the paper"),
)
@options("Output", ("--film", str, "projection.mp4", ENDINGS))
def main(
    opened: Opened, places: tuple[str, ...], noise: projector.NoiseFit, film: str, pti: bool, **options: Any
) -> None:
    """Find the latents w that show given pictures (Karras et al. 2020, appendix D; in W+ Abdal et al. 2019).

    Writes projected-w.npz, projected0000.png and so on, all beside their targets on projection.png, and the film of
    the search. With --pti the network is then tuned to the pictures (Roich et al. 2021): tuned0000.png and so on.
    """
    if not pti:
        refuse(["pti_steps", "locality"], "without --pti")
    if film != "none":
        check_film_name(film, opened.outdir)
    G, device, seed = pictures.generator(opened, "project.py"), opened.sampler.device, options["seed"]
    size = (G.config.height, G.config.width)
    targets = targeting.read_targets(places, G.config, say)
    check_sheet(len(targets) * (3 if pti else 2), size, "--target", labeled=False)
    loss, embed = targeting.open_loss(options["loss"], options["detectors"], size, device, options["trust"])
    _introduce(targets, loss, opened.batch)
    pixels = torch.stack([target.pixels for target in targets])
    images = to_images(pixels).to(device)

    settings = projector.ProjectionSettings(options["space"], options["steps"], options["rate"], noise, seed)
    tuning = projector.TuningSettings(options["pti_steps"], options["locality"], noise, opened.batch, seed)
    search = projection.Search(G, images, embed, settings, opened.batch, opened.label)
    if search.batches > 1:
        all_steps = search.batches * (settings.steps + (tuning.steps if pti else 0))
        shorter = "fewer targets or --steps" + ("" if device.type == "cuda" else ", or a GPU,")
        duration = projection.spoken(all_steps * search.seconds_per_step())
        say(f"about {duration} on this {device.type} ({all_steps:,} steps of a batch); {shorter} take less")
    watched = projection.SearchFilm(pixels, settings.steps)
    for seen in progress(search, len(search), "steps", lambda: f"loss {search.loss:.4f}"):
        watched.add(*seen)
    latents = search.latents
    latentfile.save_ws(opened.outdir / LATENTS, *latents)
    made = [projection.Projected("projected", search.losses, _pictures(opened, G, latents, noise), pixels)]
    if pti:
        tuned, losses = _tune(opened, projector.Tuning(G, *latents, images, embed, tuning, search.scale))
        made.append(projection.Projected("tuned", losses, _pictures(opened, tuned, latents, noise), pixels))

    for result in made:
        for n, picture in enumerate(result.pixels):
            save_image(to_pil(picture), opened.outdir / f"{result.name}{n:04d}.png")
    save_image(projection.compare(pixels, made), opened.outdir / SHEET)
    if film != "none":
        write_film(opened.outdir / film, watched.frames())
    write_record("project", opened, loss=loss, targets=projection.facts(targets, search.classes, made))
    _tell(opened.outdir, targets, made, film)


def _introduce(targets: list[targeting.Target], loss: str, batch: int) -> None:
    """Print how many targets there are, and how the first of them were changed."""
    batches = f" in batches of {batch}" if len(targets) > batch else ""
    say(f"{counted(len(targets), 'target')}{batches}; loss {loss}: {LOSSES[loss]}")
    changed = [f"{printable(target.name)}: {'; '.join(target.changes)}" for target in targets if target.changes]
    if len(changed) > TOLD:
        changed[TOLD:] = [f"... and {len(changed) - TOLD} more targets were made to fit; project.json lists them all"]
    for line in changed:
        say(line)


def _pictures(
    opened: Opened, G: generators.Generator, latents: latentfile.Latents, noise: projector.NoiseFit
) -> list[torch.Tensor]:
    sampler = stylesampler.StyleSampler(G, StyleOptions(noise_mode="none" if noise == "none" else "const"))
    return list(sampler.sample(sampler.fitted(latents), opened.at_once))


def _tune(opened: Opened, tuning: projector.Tuning) -> tuple[generators.Generator, torch.Tensor]:
    """Tune a copy of the network and write it. Returns the copy and the losses [N]."""
    steps = tuning.settings.steps
    for _ in progress(range(steps), steps, "tuning", lambda: f"loss {tuning.losses.mean():.4f}"):
        tuning.step()
    G = tuning.finish().fold()
    facts = {name: opened.file.metadata[name] for name in KEPT if name in opened.file.metadata}
    facts["tuned"] = {"from": str(opened.file), "steps": steps, "targets": len(tuning.pivots)}
    save_network(opened.outdir / TUNED, "stylegan2", {"G_ema": G}, facts)
    return G, tuning.losses


def _tell(outdir: Path, targets: list[targeting.Target], made: list[projection.Projected], film: str) -> None:
    for n, target in enumerate(targets[:TOLD]):
        say(f"{printable(target.name)}: " + ", ".join(f"{result.name} {result.psnr[n]:.1f} dB" for result in made))
    if len(targets) > TOLD:
        say(f"... and {len(targets) - TOLD} more, in project.json")
    files = [LATENTS, counted(len(targets) * len(made), "picture"), SHEET]
    files += ([TUNED] if len(made) > 1 else []) + ([film] if film != "none" else [])
    say(f"wrote {', '.join(files)} and project.json to {outdir}")


if __name__ == "__main__":
    main()
