"""No source unpickles, evaluates or passes to a shell what could come from a file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("midilstm", "tests", "benchmarks", ".")
    for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
    # It pickles an error of its own, to test that errors pass between processes.
    if path.name != "test_malformed.py"
)
MODULES = {"pickle", "cPickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "jsonpickle"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "os.system"),
    *("os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.load"),
}
SAFE_VALUES = {"allow_pickle": False, "safe_mode": True, "shell": False}  # by keyword


def dangers(source: str) -> Iterator[str]:
    """Yield the imports and calls of a source that could execute code from a file."""
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
                value = ast.unparse(word.value)
                if word.arg in SAFE_VALUES and value != str(SAFE_VALUES[word.arg]):
                    yield f"{called}({word.arg}={value})"
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            if name in CALLS or name.split(".")[0] in MODULES:
                yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_execute_code_from_a_file(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not list(dangers(source))
    if path.is_relative_to(ROOT / "midilstm"):  # Keras builds no network that a file describes
        assert not re.search(r"\b(load_model|model_from_json|from_config)\b", source)


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
    assert not list(dangers("re.compile(x); f(safe_mode=True, shell=False); model.eval()"))
