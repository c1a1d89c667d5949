"""The floors of the code: what may import what, where things live, and how long a file may be."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("service", "export", "tests") for path in (ROOT / folder).rglob("*.py"))
REPOSITORY = sorted(path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt"))

# A module may import its own floor and those before it.
FLOORS = (
    {"errors", "tensors", "settings", "offload", "spans"},
    {"media", "dsp", "repository", "acoustics"},
    {"backends", "vectors"},
    {"web"},
    {"models"},
    {"app"},
    {"cli", "__main__"},
)
MAX_LINES = 300


def name(path: Path) -> str:
    """service/media/audio.py -> service.media.audio; a package's own file is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The full name of everything that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> int:
    part = module.split(".")[1]
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def test_every_part_of_the_gateway_has_a_floor() -> None:
    parts = {
        path.stem for path in (ROOT / "service").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {"__init__"} == set.union(*FLOORS)


def test_imports_of_the_gateway_point_down() -> None:
    upward = [
        f"{name(path)} imports {module}"
        for path in SOURCES
        if name(path).startswith("service.")
        for module in imports(path)
        if module.startswith("service.") and floor(module) > floor(name(path))
    ]
    assert upward == []


def test_gateway_and_model_side_never_import_each_other() -> None:
    crossing = [
        f"{name(path)} imports {module}"
        for path in SOURCES
        for module in imports(path)
        if {name(path).split(".")[0], module.split(".")[0]} == {"service", "export"}
    ]
    assert crossing == []


def test_product_code_never_imports_tests() -> None:
    assert [
        name(p) for p in SOURCES if not name(p).startswith("tests") for m in imports(p) if m.startswith("tests")
    ] == []


@pytest.mark.parametrize("siblings", ["service.models", "service.backends"])
def test_siblings_do_not_know_each_other(siblings: str) -> None:
    """Capabilities, and interchangeable backends; `auto` is the one place that picks among them.

    Search stands on embeddings, which know nothing of it.
    """
    depth = siblings.count(".") + 1
    shared = {"base", "batcher"}
    stands_on = {("collections", "embeddings")}
    mutual = [
        f"{name(path)} imports {module}"
        for path in SOURCES
        if name(path).startswith(f"{siblings}.") and path.stem != "auto"
        for module in imports(path)
        if module.startswith(f"{siblings}.")
        for pair in [(name(path).split(".")[depth], module.split(".")[depth])]
        if pair[0] != pair[1] and pair[1] not in shared and pair not in stands_on
    ]
    assert mutual == []


def test_backends_know_no_http_and_routes_no_backend_library() -> None:
    forbidden = {
        "service.backends": ("fastapi", "starlette", "uvicorn"),
        "service.media": ("fastapi", "starlette"),
        "service.dsp": ("fastapi", "starlette"),
        "service.acoustics": ("fastapi", "starlette", "pydantic"),
        "service.vectors": ("fastapi", "starlette", "uvicorn"),
        "service.models": ("onnxruntime", "tritonclient", "pymilvus", "qdrant_edge"),
        "service.web": ("onnxruntime", "tritonclient", "pymilvus", "qdrant_edge"),
    }
    found = [
        f"{name(path)} imports {module}"
        for path in SOURCES
        for part, libraries in forbidden.items()
        if name(path).startswith(part)
        for module in imports(path)
        if module.split(".")[0] in libraries
    ]
    assert found == []


def test_blocks_are_shared_downwards() -> None:
    """export/layers knows no system, a model knows neither how it is trained nor how it is exported."""
    systems = {path.parent.name for path in (ROOT / "export").glob("*/model.py")}
    found = []
    for path in SOURCES:
        if not name(path).startswith("export."):
            continue
        known = {tuple(module.split(".")[1:3]) for module in imports(path) if module.startswith("export.")}
        if path.parent.name == "layers":
            found += [f"{name(path)} knows {part}" for part in known if part[0] in systems]
        if path.stem == "model":
            found += [
                f"{name(path)} knows {part}" for part in known if {*part} & {"training", "train", "graph", "loss"}
            ]
    assert found == []


def test_no_route_and_no_test_catches_or_patches_what_it_should_see() -> None:
    routes = [path for path in SOURCES if path.stem == "routes"]
    assert routes
    tries = [
        name(path) for path in routes for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Try)
    ]
    assert tries == []
    patches = [
        name(path) for path in SOURCES for module in imports(path) if module.startswith(("unittest.mock", "mock"))
    ]
    assert patches == []


def test_files_stay_small_and_say_what_they_are() -> None:
    long = {name(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}
    silent = [
        name(path)
        for path in SOURCES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("model", REPOSITORY)
def test_every_model_of_the_repository_has_a_user_and_an_exporter(model: str) -> None:
    def named_in(pattern: str) -> bool:
        return any(
            isinstance(node, ast.Constant) and node.value == model
            for path in ROOT.glob(pattern)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )

    assert named_in("service/models/*/*.py")
    assert named_in("export/*/graph.py")


def test_commands_of_the_model_side_are_the_entry_points() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commands = next(
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "export" / "cli.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "COMMANDS"
    )
    assert project["entry-points"]["auricle.commands"] == commands


def test_nothing_is_left_undone_or_bound_to_one_machine() -> None:
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|(?<![\w.}])/(?:home|root|Users|work)/")
    files = [*SOURCES, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "model_repository").rglob("*.pbtxt")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if marks.search(line)
    ]
    assert found == []
