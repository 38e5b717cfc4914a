"""Write model folders of random weights, for tests of what samples from them."""

import json
import zipfile
from pathlib import Path

from fill_bands import vocabulary

import model
from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.model_dir import save_settings
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.tokenizers.vocabulary import Vocabulary


def write_model(folder: Path, known: Vocabulary) -> None:
    """Write the model folder of a tiny network, with one checkpoint."""
    folder.mkdir()
    config = ModelConfig(embedding_size=4, units=6, layers=1, dropout=0, input_dropout=0)
    known.save(folder / "vocabulary.json")
    summary = DatasetSummary(vocabulary_size=len(known))
    data = DataConfig(encoding=known.encoding_name)
    save_settings(
        folder, RunSettings(model=config, data=data, train=TrainConfig(), dataset=summary)
    )
    network = model.build_model(config, len(known), batch_size=1, sequence_length=1)
    path = folder / "epoch-0001.keras"
    network.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metrics.json", json.dumps({"epoch": 1, "loss": 3.5, "val_loss": 3.25}))


def write_band_model(folder: Path) -> None:
    """Write a model that knows the bars and instruments of random bands."""
    write_model(folder, vocabulary(20))
