"""Nothing in the project runs what a file says: no pickle, no eval, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("midilstm", "tests", "benchmarks", ".")
    for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
    # Whether an error passes between processes is asked there, of one made there.
    if path.name != "test_malformed.py"
)
MODULES = {"pickle", "cPickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "jsonpickle"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "os.system"),
    *("os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.load"),
}
KEYWORDS = {"allow_pickle": True, "safe_mode": False, "shell": True}  # as values never given


def dangers(source: str) -> Iterator[str]:
    """Yield what in a source could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            names = [called] if called in CALLS else []
            for word in node.keywords:
                safe = word.arg in KEYWORDS and ast.Constant(not KEYWORDS[word.arg])
                if safe and ast.unparse(word.value) != ast.unparse(safe):
                    yield f"{called}({word.arg}={ast.unparse(word.value)})"
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            if name in CALLS or name.split(".")[0] in MODULES:
                yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_a_file_says(path: Path) -> None:
    assert not list(dangers(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import joblib.memory", "f = os.system"),
        *("from os import system", "eval('1')", "exec(x)", "yaml.load(x)", "marshal.loads(x)"),
        *("np.load(x, allow_pickle=True)", "np.load(x, allow_pickle=flag)", "f(safe_mode=False)"),
        *("subprocess.run(x, shell=True)", "def f():\n    import shelve", "__import__(name)"),
    ],
)
def test_each_danger_is_found(source: str) -> None:
    assert list(dangers(source))


def test_what_only_looks_like_one_is_not() -> None:
    source = "re.compile(x); network.compile(loss=y); f(safe_mode=True, shell=False); model.eval()"
    assert not list(dangers(source))


@pytest.mark.parametrize("path", sorted((ROOT / "midilstm").rglob("*.py")), ids=lambda p: p.name)
def test_keras_builds_no_network_that_a_file_describes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not {"load_model", "model_from_json", "from_config"} & {
        name.id if isinstance(name, ast.Name) else name.attr
        for name in ast.walk(ast.parse(text))
        if isinstance(name, ast.Name | ast.Attribute)
    }


@pytest.mark.parametrize("path", sorted((ROOT / "midilstm").rglob("*.py")), ids=lambda p: p.name)
def test_json_files_are_read_by_the_one_bounded_reader(path: Path) -> None:
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = [ast.unparse(call) for call in calls if isinstance(call, ast.Call)]
    assert not [x for x in texts if x.startswith(("json.load(", "json.loads(")) and "read" in x]
