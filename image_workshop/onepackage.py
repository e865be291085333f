"""The build step of a wheel: the rooms and scripts of the checkout become one package, `image_workshop`.

Their names, such as `models` and `train`, would clash with other packages. So `from models.x import y` becomes
`from image_workshop.models.x import y`, and in texts `python train.py` becomes `image-workshop train`.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from setuptools.command.build_py import build_py

PACKAGE, COMMAND = "image_workshop", "image-workshop"
LEFT_OUT = {PACKAGE, "tests", "benchmarks", "hubconf"}
ASSETS = "*.safetensors"  # of assets/


class OnePackage(build_py):
    """Replaces setuptools' `build_py`. An editable installation keeps the layout of the checkout."""

    def run(self) -> None:
        """Write the package into the build folder, anew."""
        rooms, scripts = names()
        if self.editable_mode:
            self.distribution.packages, self.distribution.py_modules = [PACKAGE, *rooms], scripts
            return super().run()
        shutil.rmtree(Path(self.build_lib) / PACKAGE, ignore_errors=True)
        for source, target in self._targets().items():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".py":
                target.write_text(rewritten(source.read_text(encoding="utf-8"), rooms, scripts), encoding="utf-8")
            else:
                shutil.copyfile(source, target)
        return None

    def get_source_files(self) -> list[str]:
        """The files of a source distribution."""
        return [*map(str, self._targets()), str(Path(__file__).relative_to(Path.cwd()))]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The files in the build folder."""
        return list(map(str, self._targets().values()))

    def _targets(self) -> dict[Path, Path]:
        """Each file of the checkout that is installed, and its place in the build folder."""
        rooms, scripts = names()
        files = [path for room in [PACKAGE, *rooms] for path in Path(room).rglob("*.*") if path.suffix != ".pyc"]
        files += [Path(f"{script}.py") for script in scripts] + list(Path("assets").glob(ASSETS))
        root = Path(self.build_lib) / PACKAGE
        inside = (file.relative_to(PACKAGE) if file.parts[0] == PACKAGE else file for file in sorted(files))
        pairs = zip(sorted(files), inside, strict=True)
        return {file: root / place for file, place in pairs if file.name != Path(__file__).name}


def names() -> tuple[list[str], list[str]]:
    """The rooms and scripts of the checkout, which is the working folder."""
    rooms = {file.parent.name for file in Path().glob("*/__init__.py")} - LEFT_OUT
    return sorted(rooms), sorted({file.stem for file in Path().glob("*.py")} - LEFT_OUT)


def rewritten(text: str, rooms: Sequence[str], scripts: Sequence[str]) -> str:
    """The text of a module with the imports and commands of the installed package."""
    ours, script = "|".join([*rooms, *scripts]), "|".join(scripts)
    text = re.sub(rf"^( *from )((?:{ours})(?:\.\w+)* import )", rf"\1{PACKAGE}.\2", text, flags=re.M)
    text = re.sub(rf"^( *import )((?:{ours})\b)", rf"\1{PACKAGE}.\2", text, flags=re.M)
    text = re.sub(rf"python -m ((?:{'|'.join(rooms)})\b)", rf"python -m {PACKAGE}.\1", text)
    # Not in quotes of its own, where it is a file or an argument of `system.text.program`.
    words = re.compile(rf"(torchrun [^\n`]*?)?(?<![\w\"'/.])(?:python )?({script})\.py(?![\w\"'])")
    return words.sub(lambda found: f"{found[1] + '--no-python ' if found[1] else ''}{command(found[2])}", text)


def command(script: str) -> str:
    """How a script is called where the package is installed: `image-workshop style-mixing`."""
    return f"{COMMAND} {script.replace('_', '-')}"
