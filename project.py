"""Find the latents of pictures: photographs, or pictures that a network made."""

import system.start  # noqa: F401 (first)

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from imaging.film import write_film
from imaging.grid import check_sheet, save_image
from imaging.pixels import to_images, to_pil
from models.families import save_network
from models.perceptual.detectors import detector_options
from models.stylegan2.generator import Generator
from models.stylegan2.latentfile import Latents, save_ws
from models.stylegan2.options import StyleOptions
from models.stylegan2.pivotal import Tuning, TuningSettings
from models.stylegan2.projector import NoiseFit, ProjectionSettings, Space
from models.stylegan2.sampler import StyleSampler
from sampling.opening import Opened
from sampling.options import sampling_options, write_record
from sampling.refusals import check_film_name, refuse
from sampling.stylegan2.ability import generator
from sampling.stylegan2.loss import LOSSES, open_loss
from sampling.stylegan2.projection import Projected, Search, SearchFilm, compare, facts, spoken
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
TOLD = 10  # targets at most that have their own line in the terminal
KEPT = ("kimg", "data")  # metadata of the network's file that the tuned one keeps
GROUP = "Projection"


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
@sampling_options(
    model=StyleOptions,
    names=[],
    seeded=False,
    label="number or name of the class to start from; default: the class whose average image is nearest to the target",
    batch="targets that are optimized at once: more is faster and takes more memory",
    default_batch=8,
)
@option("--space", type=click.Choice(["w", "w+"]), default="w+", group=GROUP, help="one w, or one for each layer")
@option("--steps", type=click.IntRange(1), default=1000, group=GROUP, help="steps of the optimization")
@option("--rate", type=click.FloatRange(0, 10, min_open=True), default=0.1, group=GROUP, help="maximum learning rate")
@option(
    "--noise-mode",
    "noise",
    type=click.Choice(["fit", "const", "none"]),
    default="fit",
    group=GROUP,
    help="noise of the synthesis: found together with w, the network's own, or none",
)
@option(
    "--loss",
    type=click.Choice(["auto", *LOSSES]),
    default="auto",
    group=GROUP,
    help="; ".join(f"{name}: {words}" for name, words in LOSSES.items()) + "; auto: lpips if a detector is given",
)
@detector_options(GROUP, "vgg16, lpips")
@option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, group=GROUP, help="random seed")
@option("--pti", is_flag=True, group="Tuning", help=f"tune the network to the pictures, too: {TUNED}")
@option("--pti-steps", type=click.IntRange(1), default=350, group="Tuning", help="steps of the tuning")
@option(
    "--locality",
    type=click.FloatRange(0, 100),
    default=0.0,
    group="Tuning",
    help="weight of locality regularization, 0.1 in the paper: other pictures change less",
)
@option(
    "--film",
    default="projection.mp4",
    group="Output",
    help="name of the film: .mp4, .gif or .webp, without an ending a folder of frames; none for no film",
)
def main(
    opened: Opened,
    places: tuple[str, ...],
    space: Space,
    steps: int,
    rate: float,
    noise: NoiseFit,
    loss: str,
    detectors: tuple[str, ...],
    trust: bool,
    seed: int,
    film: str,
    **tuning: Any,
) -> None:
    """Find the latents w that show given pictures (Karras et al. 2020, appendix D; in W+ Abdal et al. 2019).

    Writes projected-w.npz, projected0000.png and so on, all beside their targets on projection.png, and the film of
    the search. With --pti the network is then tuned to the pictures (Roich et al. 2021): tuned0000.png and so on.
    """
    _check(tuning["pti"], film, opened.outdir)
    G, device = generator(opened, "project.py"), opened.sampler.device
    size = (G.config.height, G.config.width)
    targets = read_targets(places, G.config, say)
    check_sheet(len(targets) * (3 if tuning["pti"] else 2), size, "--target", labeled=False)
    loss, embed = open_loss(loss, detectors, size, device, trust)
    _introduce(targets, loss, opened.batch)
    pixels = torch.stack([target.pixels for target in targets])
    images = to_images(pixels).to(device)

    search = Search(G, images, embed, ProjectionSettings(space, steps, rate, noise, seed), opened.batch, opened.label)
    if search.batches > 1:
        _estimate(search, tuning["pti_steps"] if tuning["pti"] else 0, device.type)
    watched = SearchFilm(pixels, steps)
    for seen in progress(search, len(search), "steps", lambda: f"loss {search.loss:.4f}"):
        watched.add(*seen)
    latents = search.latents
    save_ws(opened.outdir / LATENTS, *latents)
    made = [Projected("projected", search.losses, _pictures(opened, G, latents, noise), pixels)]
    if tuning["pti"]:
        settings = TuningSettings(
            tuning["pti_steps"], locality=tuning["locality"], noise=noise, batch=opened.batch, seed=seed
        )
        tuned, losses = _tune(opened, Tuning(G, *latents, images, embed, settings, search.scale))
        made.append(Projected("tuned", losses, _pictures(opened, tuned, latents, noise), pixels))

    for result in made:
        for n, picture in enumerate(result.pixels):
            save_image(to_pil(picture), opened.outdir / f"{result.name}{n:04d}.png")
    save_image(compare(pixels, made), opened.outdir / SHEET)
    if film != "none":
        write_film(opened.outdir / film, watched.frames())
    write_record("project", opened, loss=loss, targets=facts(targets, search.classes, made))
    _tell(opened.outdir, targets, made, film)


def _check(pti: bool, film: str, outdir: Path) -> None:
    if not pti:
        refuse(["pti_steps", "locality"], "without --pti")
    if film != "none":
        check_film_name(film, outdir)


def _introduce(targets: list[Target], loss: str, batch: int) -> None:
    """Print how many targets there are, and how the first of them were changed."""
    batches = f" in batches of {batch}" if len(targets) > batch else ""
    say(f"{counted(len(targets), 'target')}{batches}; loss {loss}: {LOSSES[loss]}")
    changed = [f"{printable(target.name)}: {'; '.join(target.changes)}" for target in targets if target.changes]
    for line in changed[:TOLD]:
        say(line)
    if len(changed) > TOLD:
        say(f"... and {len(changed) - TOLD} more targets were made to fit; project.json lists them all")


def _estimate(search: Search, tuning_steps: int, device: str) -> None:
    """Print the expected duration, which with many targets may be days."""
    steps = search.batches * (search.settings.steps + tuning_steps)
    shorter = "fewer targets or --steps" + ("" if device == "cuda" else ", or a GPU,")
    say(
        f"about {spoken(steps * search.seconds_per_step())} on this {device} ({steps:,} steps of a batch); "
        f"{shorter} take less"
    )


def _pictures(opened: Opened, G: Generator, latents: Latents, noise: NoiseFit) -> list[Tensor]:
    """The pictures of latents, with their fitted noise, the network's own, or none."""
    sampler = StyleSampler(G, StyleOptions(noise_mode="none" if noise == "none" else "const"))
    return list(sampler.sample(sampler.fitted(latents), opened.at_once))


def _tune(opened: Opened, tuning: Tuning) -> tuple[Generator, Tensor]:
    """Tune a copy of the network and write it. Returns the copy and the losses [N]."""
    steps = tuning.settings.steps
    for _ in progress(range(steps), steps, "tuning", lambda: f"loss {tuning.losses.mean():.4f}"):
        tuning.step()
    G = tuning.finish().fold()
    facts = {name: opened.file.metadata[name] for name in KEPT if name in opened.file.metadata}
    facts["tuned"] = {"from": str(opened.file), "steps": steps, "targets": len(tuning.pivots)}
    save_network(opened.outdir / TUNED, "stylegan2", {"G_ema": G}, facts)
    return G, tuning.losses


def _tell(outdir: Path, targets: list[Target], made: list[Projected], film: str) -> None:
    for n, target in enumerate(targets[:TOLD]):
        say(f"{printable(target.name)}: " + ", ".join(f"{result.name} {result.psnr[n]:.1f} dB" for result in made))
    if len(targets) > TOLD:
        say(f"... and {len(targets) - TOLD} more, in project.json")
    files = [LATENTS, counted(len(targets) * len(made), "picture"), SHEET]
    files += [TUNED] if len(made) > 1 else []
    files += [film] if film != "none" else []
    say(f"wrote {', '.join(files)} and project.json to {outdir}")


if __name__ == "__main__":
    main()
