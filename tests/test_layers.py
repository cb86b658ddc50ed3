"""Who may import whom, held against the syntax tree."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest
import yaml

from cxrlt_cli import documents

PACKAGE = Path(__file__).parents[1] / "cxrlt_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    1: ("__init__", "documents", "errors", "labels", "config", "files", "machine", "names", "private_apis", "prompts"),
    2: ("tables", "scores", "report"),
    3: ("data", "datasets", "phantom", "losses", "nets", "tta"),
    4: ("engine",),
    5: ("training",),
    6: ("verbs",),
    7: ("cli", "__main__"),
}
LIBRARIES = {
    1: {"pydantic", "yaml"},
    2: {"pydantic", "numpy", "pandas", "pyarrow", "scipy", "sklearn"},
    3: {
        "numpy",
        "pandas",
        "torch",
        "timm",
        "cv2",
        "albumentations",
        "imagecodecs",
        "simplejpeg",
        "open_clip",
        "PIL",
        "pydicom",
        "safetensors",
        "huggingface_hub",
        "filelock",
        "xxhash",
    },
    4: {"numpy", "pandas", "torch", "filelock"},
    5: {"numpy", "torch", "timm", "yaml", "wandb", "mlflow", "xxhash"},
    6: {"numpy", "pandas", "torch", "yaml"},
    7: {"typer", "rich", "pydantic", "yaml"},
}
LATE = {
    "machine": {"joblib"},
    "private_apis": {"torch", "pydicom"},
    "engine.svg_png": {"PIL", "resvg_py"},
}  # inside functions, besides


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def layer(module: str) -> int:
    for number, names in LAYERS.items():
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    raise AssertionError(f"{module} stands in no layer")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether inside a function or for types alone."""
    found = []
    tree = ast.parse(path.read_text())
    late: set[ast.AST] = set()
    for node in ast.walk(tree):
        types_alone = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.FunctionDef) or types_alone:
            late.update(ast.walk(node))
        if isinstance(node, ast.Import):
            found += [(alias.name, node in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            own = [name for name in names if (PACKAGE.parent / (name.replace(".", "/") + ".py")).exists()]
            found += [(name, node in late) for name in own or [str(node.module)]]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_house(path: Path) -> None:
    mine = layer(name_of(path))
    for module, is_late in imports(path):
        if module.split(".")[0] == "cxrlt_cli":
            theirs = layer(module.removeprefix("cxrlt_cli").removeprefix(".") or "__init__")
            assert theirs <= mine, f"{name_of(path)} imports {module}"
            if mine == 7 and theirs not in (1, 7):
                assert is_late or name_of(path) == "cli.display", f"{name_of(path)} imports {module} at module level"
        elif module.split(".")[0] not in sys.stdlib_module_names:
            allowed = LIBRARIES[mine] | LATE.get(name_of(path), set()) if is_late else LIBRARIES[mine]
            assert module.split(".")[0] in allowed, f"{name_of(path)} imports {module}"


def test_verbs_do_not_import_each_other() -> None:
    """A verb may have a page of its own, in a module that is called after it."""
    for path in (PACKAGE / "verbs").glob("*.py"):
        for module, _ in imports(path):
            if module.startswith("cxrlt_cli.verbs."):
                assert module.removeprefix("cxrlt_cli.verbs.").startswith(path.stem), f"{path.stem} imports {module}"


def test_no_module_is_reached_from_itself() -> None:
    """Late imports included: what goes round in a circle cannot be read from top to bottom."""
    known = {f"cxrlt_cli.{name_of(path)}".removesuffix(".__init__") for path in MODULES}
    graph = {
        f"cxrlt_cli.{name_of(path)}".removesuffix(".__init__"): {module for module, _ in imports(path)} & known
        for path in MODULES
    }
    tuple(TopologicalSorter(graph).static_order())


def test_a_name_is_found_in_one_room() -> None:
    """No two modules of one stem, none called as a room is; and no room holds more than a fifth of the house."""
    stems = Counter(path.stem for path in MODULES if path.stem != "__init__")
    stems.update(path.parent.name for path in MODULES if path.stem == "__init__" and path.parent != PACKAGE)
    assert [stem for stem, number in stems.items() if number > 1] == []
    lengths: Counter[str] = Counter()
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else "top"
        lengths[room] += len(path.read_text().splitlines())
    assert max(lengths.values()) <= lengths.total() / 5


def test_nothing_that_could_run_code_is_loaded() -> None:
    """YAML is read by ``documents``, whose loader is a safe one, pickles by torch's unpickler of weights; no code is.

    ``launch`` alone unpickles: what it wrote itself, for its own workers, in a folder that nobody else can write to.
    """
    forbidden = {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader",
                 "yaml.FullLoader", "yaml.UnsafeLoader", "pickle.load", "pickle.loads",
                 "pickle.Unpickler", "joblib.load", "eval", "exec"}  # fmt: skip
    modules = [path for path in MODULES if path.name != "launch.py"]
    calls = [node for path in modules for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    assert not forbidden & set(names)
    assert {"json.loads", "torch.load"} <= set(names), "the names are as they are looked for"
    assert issubclass(documents._Plain, yaml.SafeLoader)
    loads = [ast.unparse(call) for call, name in zip(calls, names, strict=True) if name == "torch.load"]
    assert all("weights_only=True" in load for load in loads)
    arrays = [ast.unparse(call) for call, name in zip(calls, names, strict=True) if name == "np.load"]
    assert not any("allow_pickle=True" in load for load in arrays)


def test_modules_are_read_in_one_sitting() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}
    assert median(lengths.values()) <= 130


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


HEAVY = {"torch", "timm", "pandas", "numpy", "cv2", "sklearn", "albumentations", "open_clip", "pydicom"}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["demo", "--help"], ["data"]])
def test_help_and_errors_are_light(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['cxrlt', *{arguments}]\n"
        "from cxrlt_cli.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )
    assert not loaded_by(code) & HEAVY


def test_completion_is_light() -> None:
    code = (
        "import os, sys; sys.argv = ['cxrlt']\n"
        "os.environ |= {'_CXRLT_COMPLETE': 'complete_bash', 'COMP_WORDS': 'cxrlt train --loss ', 'COMP_CWORD': '3'}\n"
        "from cxrlt_cli.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("verb", ["evaluate", "data_import"])
def test_some_commands_need_no_torch(verb: str) -> None:
    assert "torch" not in loaded_by(f"import cxrlt_cli.verbs.{verb}")


def test_importing_the_package_does_nothing() -> None:
    assert loaded_by("import cxrlt_cli") & (HEAVY | {"typer", "rich", "pydantic"}) == set()


def test_no_text_is_left_over() -> None:
    """A string that stands by itself, as where a long one was broken in two, is said by nobody."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            body = getattr(node, "body", None)
            for place, statement in enumerate(body if isinstance(body, list) else []):
                value = statement.value if isinstance(statement, ast.Expr) else None
                is_text = isinstance(value, ast.Constant) and isinstance(value.value, str) and place > 0
                assert not is_text, f"{path}:{statement.lineno}"
                assert not isinstance(value, ast.JoinedStr), f"{path}:{statement.lineno}"
