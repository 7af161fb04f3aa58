"""Print the packages of emofocus, what each imports, and on which floor it stands.

Run it from the root of the repository: ``python docs/import_graph.py``. A package stands one floor above the highest
package that it imports. ``--files`` prints the imports of each file too. A folder, such as ``src/emofocus`` of another
checkout, is read instead of this one's: so two versions are compared.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "emofocus"

Graph = Mapping[str, set[str]]


def package_of(path: Path, source: Path = SOURCE) -> str:
    """Name of the package, or of the top-level module, that a file belongs to."""
    return path.relative_to(source).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> Iterator[str]:
    """Dotted names that a file imports from emofocus, without the leading ``emofocus.``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "emofocus":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("emofocus."):
            yield node.module.removeprefix("emofocus.")
        elif isinstance(node, ast.Import):
            yield from (name.name.removeprefix("emofocus.") for name in node.names if name.name.startswith("emofocus."))


def package_graph(source: Path = SOURCE) -> dict[str, set[str]]:
    """Packages, and for each the packages that its files import."""
    packages = {package_of(path, source) for path in source.rglob("*.py")} - {"__init__", "__main__"}
    graph: dict[str, set[str]] = {name: set() for name in packages}
    for path in source.rglob("*.py"):
        own = package_of(path, source)
        if own in graph:
            found = {name.split(".")[0] for name in imported_modules(path)}
            graph[own] |= (found & packages) - {own}
    return graph


def floors(graph: Graph) -> list[list[str]]:
    """Packages by floor, the lowest first.

    Raises:
        ValueError: Some packages import each other in a circle; the message names them.
    """
    height: dict[str, int] = {}
    while len(height) < len(graph):
        ready = [name for name in graph if name not in height and all(other in height for other in graph[name])]
        if not ready:
            raise ValueError(f"packages import each other: {', '.join(sorted(set(graph) - set(height)))}")
        height |= {name: 1 + max((height[other] for other in graph[name]), default=-1) for name in ready}
    by_floor = defaultdict(list)
    for name in sorted(height):
        by_floor[height[name]].append(name)
    return [by_floor[number] for number in range(len(by_floor))]


def print_files(source: Path = SOURCE) -> None:
    """Print the modules that each file imports."""
    for path in sorted(source.rglob("*.py")):
        print(f"  {path.relative_to(source)}: {', '.join(sorted(set(imported_modules(path)))) or 'nothing'}")


def main() -> None:
    """Print floors and arrows, and their numbers."""
    folders = [Path(argument) for argument in sys.argv[1:] if argument != "--files"]
    source = folders[0] if folders else SOURCE
    graph = package_graph(source)
    order = floors(graph)
    for number, names in enumerate(order):
        for name in names:
            print(f"floor {number}  {name}  imports {', '.join(sorted(graph[name])) or 'nothing'}")
    print(f"{len(graph)} packages, {sum(map(len, graph.values()))} arrows, {len(order)} floors, no circle")
    if "--files" in sys.argv:
        print_files(source)


if __name__ == "__main__":
    main()
