"""Pieces that continue a MIDI file."""

from pathlib import Path

import pytest
from sample_runs import refusal, run

from midilstm import tokenizers


def test_a_primer_is_fed_and_its_unknown_tokens_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    primer = ["C4", "C6", "C6", "0.4", "E4"]
    tokenizers.write(primer, tmp_path / "seed.mid")
    flags = ["--chars=200", "--seed=2"]
    (whole,) = run(*flags, "--primer=seed.mid", "--include-primer")
    output = capsys.readouterr().out
    assert "The model does not know C6 (replaced by C4), 0.4 (replaced by 0.4.7)" in output
    (new,) = run(*flags, "--primer=seed.mid")
    assert whole["tokens"] == primer + new["tokens"]
    assert len(new["tokens"]) == 200
    assert new["tokens"] != run(*flags)[0]["tokens"]
    (bars,) = run("--bars=3", "--seed=2", "--primer=seed.mid", "--include-primer")
    assert bars["tokens"] == whole["tokens"][: 5 + 24]  # bars count the new music
    assert "needs a --primer" in refusal(capsys, "--include-primer")


@pytest.mark.usefixtures("match_model")
def test_new_music_repeats_the_primer() -> None:
    motif = ["C4", "E4", "0.4.7", "E4", "2.5.9", "C4"]
    tokenizers.write([*motif, "0.4.7", "0.4.7", *motif[:3]], Path("seed.mid"))
    flags = ["--primer=seed.mid", "--chars=3", "--count=20", "--seed=0"]
    strong, off = (
        sum(piece["tokens"] == motif[3:] for piece in run(*flags, f"--memory={strength}"))
        for strength in (2, 0)
    )
    assert strong > off + 10


@pytest.mark.parametrize("content", [b"", b"not MIDI", None])
def test_a_primer_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "bad.mid").write_bytes(content)
    assert "bad.mid" in refusal(capsys, "--primer=bad.mid")
    assert not (tmp_path / "output").exists()
