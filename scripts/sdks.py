"""Make the official SDKs' environments, for tests against the simulator: `python scripts/sdks.py [NAME…]`.

They lie in benchsuite's cache folder, `sdks/NAME`, not among the engines: nothing is launched from them. Two,
since text-generation pins a huggingface-hub below 1 and the others need a newer one.
"""

import sys
from pathlib import Path

from engines import Recipe, asked, engines_folder, is_complete, make

REQUIREMENTS = Path(__file__).resolve().parent.parent / "tests" / "sdks" / "requirements"
RECIPES = (
    Recipe(
        name="hosted",
        steps=(("hosted.txt",),),
        proof="anthropic, google.genai, huggingface_hub, ollama, openai",
        tells="half a minute, 0.2 GB",
        folder=REQUIREMENTS,
    ),
    Recipe(
        name="text-generation",
        steps=(("text-generation.txt",),),
        proof="text_generation",
        tells="a few seconds, 0.1 GB",
        folder=REQUIREMENTS,
    ),
)


def sdks_folder() -> Path:
    """`sdks` in benchsuite's cache folder."""
    return engines_folder().with_name("sdks")


def python_of(name: str) -> Path | None:
    """The interpreter of the environment `name`; None: it isn't there, or not by its present recipe."""
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    folder = sdks_folder() / name
    return folder / "bin" / "python" if is_complete(recipe, folder) else None


def main() -> None:
    """Make what is asked, all if nothing is; exits with 1 if any could not be made."""
    made = [make(recipe, sdks_folder()) for recipe in asked("sdks.py", "set of SDKs", __doc__, RECIPES)]
    sys.exit(0 if all(made) else 1)


if __name__ == "__main__":
    main()
