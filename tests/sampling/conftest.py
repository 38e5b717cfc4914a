"""A model folder for the tests of sample.py, which run in a folder of their own."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sample_runs import TOKENS

import model
from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.generation.loaded_model import FittedOn, write_match_model
from midilstm.model_dir import save_settings
from midilstm.repetition.match_model import MatchWeights
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.tokenizers.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder with two checkpoints of a tiny network."""
    folder = tmp_path_factory.mktemp("model")
    config = ModelConfig(embedding_size=4, units=6, layers=1, dropout=0, input_dropout=0)
    Vocabulary(TOKENS).save(folder / "vocabulary.json")
    summary = DatasetSummary(vocabulary_size=len(TOKENS))
    settings = RunSettings(model=config, data=DataConfig(), train=TrainConfig(), dataset=summary)
    save_settings(folder, settings)
    network = model.build_model(config, len(TOKENS), batch_size=1, sequence_length=1)
    for epoch in (1, 2):
        rng, path = np.random.default_rng(epoch), folder / f"epoch-000{epoch}.keras"
        spreads = (2, 2, 2, 0, 1.5, 0)  # so that history matters and no token is certain
        shapes = [array.shape for array in network.get_weights()]
        network.set_weights([rng.normal(0, *pair) for pair in zip(spreads, shapes, strict=True)])
        network.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("metrics.json", json.dumps({"epoch": epoch, "val_loss": epoch / 4}))
    return folder


@pytest.fixture(autouse=True)
def model_dir(saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model folder of the test's own, "model" in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for path in saved_model.iterdir():
        (tmp_path / "model" / path.name).symlink_to(path)
    return tmp_path / "model"


@pytest.fixture
def match_model(model_dir: Path) -> MatchWeights:
    """Give the model a match model; return its weights."""
    weights = MatchWeights(0.25, 1.0, 0, 1, 1, 0, 0, -0.5)
    write_match_model(model_dir / "match_model.json", weights, FittedOn())
    return weights
