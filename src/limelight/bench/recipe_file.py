"""Files of recipes: where they are found, how they are read, and the papers' numbers beside them."""

import tomllib
from pathlib import Path
from typing import Any, cast

from limelight import files
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.errors import InvalidOption, nearest, show
from limelight.model.labels import read_labels


def list_shipped() -> dict[str, Path]:
    """Return the recipes that come with Limelight, by name."""
    package = Path(__file__).parents[1]
    folder = next((f for f in (package / "recipes", package.parents[1] / "recipes") if f.is_dir()), package)
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find_recipe(given: str | Path) -> Path:
    """Return the file of a recipe: a path, or the name of one that comes with Limelight.

    Raises:
        InvalidOption: there is no such recipe; the message names the nearest.
    """
    path, ours = Path(given), list_shipped()
    if path.is_file() or (files.exists(path) and not path.is_dir()):  # a pipe is refused when it is opened
        return path
    if path.parent == Path() and path.suffix in ("", ".toml"):
        if path.stem in ours:
            return ours[path.stem]
        raise InvalidOption(f"there is no recipe {str(given)!r}{nearest(path.stem, ours)} (see: limelight recipes)")
    raise InvalidOption(f"the recipe {path} can't be read: {'it is a folder' if path.is_dir() else 'no such file'}")


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe and check all of it, the options of methods and metrics too.

    Args:
        path: of a file, or the name of one that comes with Limelight.

    Raises:
        InvalidOption: the file is not there or no TOML, a key is unknown or a value is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    path = find_recipe(path)
    with files.refusing(InvalidOption, f"the recipe {path} can't be read"):
        content = files.content_of(path)
    with files.refusing(InvalidOption, f"the recipe {path} is no TOML"):
        given = tomllib.loads(content.decode("utf-8-sig"))  # some editors put a mark in front
    _read_labels(given, path)
    return make_recipe(given, path.name)


def _read_labels(given: dict[str, Any], recipe: Path) -> None:
    """Put names and texts of classes that lie in files beside a recipe into its tables, so that they are part of it.

    Raises:
        InvalidOption: a file lies elsewhere, is not there or holds none.
    """
    parts = given.get("data")
    tables: list[Any] = [given.get("models"), *(cast(list[Any], parts) if isinstance(parts, list) else ())]
    for table in tables:
        for own in _table(_table(table).get("load")).values():
            for key in ("labels", "texts"):
                if isinstance(names := _table(own).get(key), str):
                    own[key] = read_labels(_find_beside(recipe, names, key))


def _table(given: Any) -> dict[str, Any]:
    """Return what may be a table, an empty one if it is none, which is refused later."""
    return cast(dict[str, Any], given) if isinstance(given, dict) else {}


def read_published(recipe: Recipe, path: str | Path) -> str:
    """Return the csv with the paper's numbers, which lies where the recipe says; "" if it says nothing.

    Raises:
        InvalidOption: it is not there.
    """
    if not recipe.paper.table:
        return ""
    return read_numbers(find_recipe(path), recipe.paper.table)


def read_numbers(recipe: Path, table: str) -> str:
    """Return the text of a paper's numbers, which lie beside the recipe that names them or come with Limelight.

    A recipe may be anybody's, and what it names goes into the run: so nothing else is read, whatever it says.

    Raises:
        InvalidOption: it is elsewhere, or not there.
    """
    path = _find_beside(recipe, table, "paper's numbers")
    with files.refusing(InvalidOption, f"{recipe.name}: the paper's numbers {show(table)} can't be read"):
        return files.text_of(path)


def _find_beside(recipe: Path, name: str, kind: str) -> Path:
    """Return a file that a recipe names, and that lies beside it or comes with Limelight.

    Raises:
        InvalidOption: it is elsewhere, or not there.
    """
    what = f"{recipe.name}: the {kind} {show(name)} can't be read"
    with files.refusing(InvalidOption, what):
        for folder in (recipe.parent, *(path.parent for path in [*list_shipped().values()][:1])):
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise InvalidOption(f"{what}: they must lie beside the recipe, or come with Limelight")
            if path.exists():
                return path
    raise InvalidOption(f"{what}: there is no such file beside the recipe, nor among those of Limelight")
