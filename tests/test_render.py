"""render.py against what is known about music built in the test, and against other readers."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

import render

HOSTILE = "<img src=x onerror=alert(1)></script><b>&amp;.mid"
A4 = 69


def write_midi(
    path: Path,
    notes: Sequence[tuple[int, float, float, int]],
    programs: dict[int, int] | None = None,
) -> Path:
    """Write notes (pitch, start, length, channel), a track a channel; a quarter is 0.5 s."""
    song = mido.MidiFile(ticks_per_beat=480)
    for channel in sorted({note[3] for note in notes} or {0}):
        program = (programs or {}).get(channel, 0)
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        mine = [note for note in notes if note[3] == channel]
        events = [(round(480 * start), 1, pitch) for pitch, start, _, _ in mine]
        events += [(round(480 * (start + length)), 0, pitch) for pitch, start, length, _ in mine]
        now = 0
        for tick, loud, pitch in sorted(events):
            kind, velocity = ("note_on", 100) if loud else ("note_off", 0)
            message = mido.Message(kind, channel=channel, note=pitch, velocity=velocity)
            track.append(message.copy(time=tick - now))
            now = tick
        song.tracks.append(track)
    song.save(path)
    return path


def one_note(path: Path, pitch: int = A4, length: float = 8) -> Path:
    """Write a single held note, a second for every two quarters."""
    return write_midi(path, [(pitch, 0, length, 0)])


def band(path: Path) -> Path:
    """Write two bars for a piano, a bass and drums."""
    piano = [(60 + step, step, 1.0, 0) for step in range(8)]
    bass = [(36, beat, 0.9, 1) for beat in (0, 2, 4, 6)]
    drums = [(pitch, beat, 0.1, 9) for beat in range(8) for pitch in (42, 36)]
    return write_midi(path, piano + bass + drums, {0: 0, 1: 32})


def page_data(page: Path) -> dict[str, Any]:
    """Return the JSON that the page carries, as a browser reads it: up to the first closing tag."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S
    )
    assert found
    return json.loads(found[1])


def made_without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing a module fail, as it does where it is not installed."""
    monkeypatch.setitem(sys.modules, module, None)


def pixels_of(png: bytes, colour: str) -> np.ndarray:
    """Return where a picture has exactly a colour: bool [height, width]."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    picture = np.round(imread(io.BytesIO(png))[..., :3] * 255)
    return (np.abs(picture - np.round(np.array(to_rgb(colour)) * 255)) <= 1).all(axis=-1)


# ---- Reading ----


def test_notes_have_the_times_pitches_and_instruments_that_were_written(tmp_path: Path) -> None:
    piece = render.read_piece(band(tmp_path / "band.mid"))
    assert [part.name for part in piece.parts] == ["Acoustic Grand Piano", "Acoustic Bass", "Drums"]
    piano = piece.parts[0].notes
    assert [note.pitch for note in piano] == list(range(60, 68))
    assert [note.start for note in piano] == pytest.approx([step / 2 for step in range(8)])
    assert (piece.seconds, piece.bars) == (pytest.approx(4.0), pytest.approx((0.0, 2.0)))
    assert len(piece.parts[2].notes) == 16


def test_every_colour_stands_out_in_both_themes() -> None:
    from matplotlib.colors import to_rgb

    def luminance(colour: str) -> float:
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    layout = Path(render.__file__).with_name("render.html").read_text()
    papers = re.findall(r"--paper: (#\w{6})", layout)
    assert len(papers) == 2
    for colour in (*render.COLOURS, render.DRUM_COLOUR):
        for paper in papers:
            dark, light = sorted((luminance(colour), luminance(paper)))
            assert (light + 0.05) / (dark + 0.05) >= 3, (colour, paper)


# ---- Seeing ----


def test_a_note_is_drawn_where_and_only_where_it_sounds(tmp_path: Path) -> None:
    # Three notes of a second each: low, then high, then low again.
    path = write_midi(tmp_path / "x.mid", [(60, 0, 2, 0), (72, 2, 2, 0), (60, 4, 2, 0)])
    drawn = pixels_of(render.draw_piano_roll(render.read_piece(path)), render.COLOURS[0])
    legend = int(drawn.shape[0] * 0.85)
    rows, columns = np.nonzero(drawn[:legend])
    thirds = np.array_split(np.arange(columns.min(), columns.max() + 1), 3)
    heights = [rows[np.isin(columns, third[4:-4])] for third in thirds]
    assert heights[1].max() < heights[0].min()
    assert heights[0].min() == heights[2].min()
    assert drawn[legend:].any(), "the legend shows the colour"


def test_drums_and_every_instrument_show_in_their_colours(tmp_path: Path) -> None:
    piece = render.read_piece(band(tmp_path / "band.mid"))
    png = render.draw_piano_roll(piece)
    for part in piece.parts:
        assert pixels_of(png, part.colour).sum() > 100, part.name


def test_three_parts_in_unison_all_show(tmp_path: Path) -> None:
    # The fourth is as thick as the first: it hides that, but must not hide the thinner ones.
    notes = [(60, 0, 4, channel) for channel in range(4)]
    programs = {0: 0, 1: 40, 2: 56, 3: 73}
    piece = render.read_piece(write_midi(tmp_path / "x.mid", notes, programs))
    png = render.draw_piano_roll(piece)
    legend_only = 60 * 20
    for part in piece.parts[1:]:
        assert pixels_of(png, part.colour).sum() > legend_only, part.name


def test_drums_alone_can_be_drawn(tmp_path: Path) -> None:
    piece = render.read_piece(write_midi(tmp_path / "x.mid", [(38, 0, 1, 9)]))
    assert pixels_of(render.draw_piano_roll(piece), render.DRUM_COLOUR).sum() > 100


def test_a_formula_or_foreign_script_in_a_name_is_drawn_without_complaint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = one_note(tmp_path / "$\\frac$ 名.mid")
    assert render.main([str(path), "--piano-roll"]) == 0
    assert capsys.readouterr().err == ""


# ---- Hearing ----


def wave_of(path: Path) -> tuple[np.ndarray, int]:
    """Run --audio; return samples float [time, channels] from -1 to 1, and their rate."""
    import wave

    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    assert render.main([str(path), "--audio"]) == 0
    with wave.open(str(path.with_suffix(".wav"))) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return data.reshape(-1, file.getnchannels()) / 32768, file.getframerate()


def test_a_held_a4_sounds_at_440_hz_for_as_long_as_it_is_held(tmp_path: Path) -> None:
    sound, rate = wave_of(one_note(tmp_path / "a4.mid"))
    assert 4.0 <= len(sound) / rate <= 4.0 + render.RELEASE_SECONDS + 0.1
    assert np.abs(sound).max() > 0.01
    held = sound[rate // 2 : 3 * rate, 0]
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held))))
    frequency = np.fft.rfftfreq(len(held), 1 / rate)[spectrum.argmax()]
    assert frequency == pytest.approx(440, abs=2)


def test_the_last_note_rings_after_it_ends(tmp_path: Path) -> None:
    sound, rate = wave_of(one_note(tmp_path / "a4.mid", length=0.5))
    end = rate // 4
    ringing, silence = np.abs(sound[end : end + rate // 50]), np.abs(sound[-rate // 10 :])
    assert ringing.max() > 0.01
    assert silence.max() < ringing.max() / 10


def test_the_missing_renderer_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_without("midirenderer", monkeypatch)
    assert render.main([str(one_note(tmp_path / "x.mid")), "--audio"]) == 2
    assert "pip install -r requirements-audio.txt" in capsys.readouterr().err
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize("content", [None, b"no soundfont"])
def test_a_bad_soundfont_is_one_sentence(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    font = tmp_path / "my.sf2"
    if content:
        font.write_bytes(content)
    arguments = [str(one_note(tmp_path / "x.mid")), "--audio", "--soundfont", str(font)]
    assert render.main(arguments) == 2
    assert_one_sentence(capsys.readouterr().err, "my.sf2")


# ---- Scores ----


def test_the_score_holds_the_notes_that_music21_reads_back(tmp_path: Path) -> None:
    from music21 import converter

    path = band(tmp_path / "my <tune>.mid")
    assert render.main([str(path), "--musicxml"]) == 0
    score = converter.parse(path.with_suffix(".musicxml"), forceSource=True)
    assert [n.pitch.midi for n in score.parts[0].flatten().notes] == list(range(60, 68))
    assert [float(n.offset) for n in score.parts[0].flatten().notes] == list(range(8))
    assert score.metadata.bestTitle == "my <tune>"


def test_the_score_keeps_drums_that_its_part_does_not_name(tmp_path: Path) -> None:
    from music21 import converter, note, percussion

    # Hi-hats alone, hi-hats with a bass drum: two kinds of music21 object in a part of one name.
    drums = [(42, beat / 2, 0.1, 9) for beat in range(16)] + [(36, beat, 0.1, 9) for beat in (0, 4)]
    path = write_midi(tmp_path / "x.mid", drums)
    song = mido.MidiFile(path)
    song.tracks[0].insert(0, mido.MetaMessage("track_name", name="Percussion"))
    song.save(path)
    assert render.main([str(path), "--musicxml"]) == 0
    score = converter.parse(path.with_suffix(".musicxml"), forceSource=True)
    found = score.recurse().notes
    assert len(found.getElementsByClass(note.Unpitched)) == 14
    assert len(found.getElementsByClass(percussion.PercussionChord)) == 2


# ---- The page ----


def test_the_page_holds_each_piece_the_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new.mid", "middle.MID", "old.midi"]):
        path = one_note(tmp_path / name)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    pieces = page_data(tmp_path / "index.html")["pieces"]
    assert [piece["name"] for piece in pieces] == ["new.mid", "middle.MID", "old.midi"]
    assert pieces[0]["parts"][0]["notes"] == [0, 4000, A4, 100]


def test_a_hostile_name_stays_inside_the_data(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "\u2215")
    one_note(tmp_path / name)
    settings = {"command": "</script><script>alert(1)</script><!--"}
    (tmp_path / name).with_suffix(".json").write_text(json.dumps(settings))
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    [piece] = page_data(tmp_path / "index.html")["pieces"]
    assert piece["name"] == name
    assert piece["settings"] == settings
    assert "<img" not in (tmp_path / "index.html").read_text()


def test_settings_and_novelty_are_shown_as_text_and_tokens_as_their_number(tmp_path: Path) -> None:
    one_note(tmp_path / "x.mid")
    known = {"seed": 7, "held_out_loss": 3.84123, "primer": None, "until_end": True}
    more = {"tokens": ["C4"] * 1234, "versions": {"keras": "3.15.0", "music21": "10.5.1"}}
    novelty = {"longest_copied_run": 6, "copied": 0.0123456}
    (tmp_path / "x.json").write_text(json.dumps(known | more | {"novelty": novelty}))
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    [piece] = page_data(tmp_path / "index.html")["pieces"]
    spelled = {"seed": "7", "held_out_loss": "3.841", "primer": "none", "until_end": "yes"}
    spelled |= {"tokens": "1,234", "versions": "keras 3.15.0, music21 10.5.1"}
    assert piece["settings"] == spelled
    assert piece["novelty"] == {"longest_copied_run": "6", "copied": "0.01235"}


def test_the_page_plays_a_wav_only_if_it_is_as_new_as_the_piece(tmp_path: Path) -> None:
    for name, age in (("fresh", 1), ("stale", -1)):
        path = one_note(tmp_path / f"{name}.mid")
        path.with_suffix(".wav").touch()
        when = path.stat().st_mtime + age
        os.utime(path.with_suffix(".wav"), (when, when))
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    pieces = page_data(tmp_path / "index.html")["pieces"]
    assert {p["name"]: p["sound"] for p in pieces} == {"fresh.mid": "fresh.wav", "stale.mid": None}


def test_the_page_names_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_note(tmp_path / "good.mid")
    (tmp_path / "bad.mid").write_bytes(b"not music")
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    assert "bad.mid" in capsys.readouterr().err
    assert [p["name"] for p in page_data(tmp_path / "index.html")["pieces"]] == ["good.mid"]


# ---- The command ----


def assert_one_sentence(text: str, *expected: str) -> None:
    """Check an error for its form: one line, no traceback, and the words it must hold."""
    assert text.startswith("render.py: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    for word in expected:
        assert word in text


def no_notes(path: Path) -> None:
    write_midi(path, [])


def too_long(path: Path) -> None:
    one_note(path, length=2 * 3601)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda _: None, "not a file"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"<html>no music</html>"), "cannot be read"),
        (no_notes, "no notes"),
        (too_long, "3,601 seconds"),
    ],
    ids=["missing", "folder", "empty", "html", "no-notes", "too-long"],
)
@pytest.mark.parametrize("flag", ["--piano-roll", "--audio", "--musicxml"])
def test_a_file_that_is_not_music_is_one_sentence(
    write: Callable[[Path], object],
    expected: str,
    flag: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "x.mid")
    assert render.main([str(tmp_path / "x.mid"), flag]) == 2
    assert_one_sentence(capsys.readouterr().err, "x.mid", expected)


def test_every_cut_and_many_a_flipped_byte_are_read_or_refused(tmp_path: Path) -> None:
    good = band(tmp_path / "good.mid").read_bytes()
    rng = np.random.default_rng(0)
    broken = [good[:length] for length in range(0, len(good), 7)]
    for _ in range(200):
        flipped = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            flipped[place] = rng.integers(256)
        broken.append(bytes(flipped))
    refused = 0
    for content in broken:
        (tmp_path / "x.mid").write_bytes(content)
        try:
            render.read_piece(tmp_path / "x.mid")
        except render.RenderError:
            refused += 1
    assert 0 < refused < len(broken)


def test_no_flag_is_answered_with_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main([]) == 2
    assert_one_sentence(capsys.readouterr().err, "--piano-roll", "--audio", "--musicxml", "--page")


@pytest.mark.parametrize("flag", ["--piano-roll", "--page"])
def test_an_empty_folder_is_one_sentence(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render.main([flag, "--output-dir", str(tmp_path / "nowhere")]) == 2
    assert_one_sentence(capsys.readouterr().err, "nowhere", "sample.py")


def test_without_files_the_newest_piece_is_taken(tmp_path: Path) -> None:
    for age, name in enumerate(["b", "c", "a"]):
        path = one_note(tmp_path / f"{name}.mid")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert render.main(["--piano-roll", "--output-dir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["b.png"]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--piano-roll", "x.png"),
        ("--audio", "x.wav"),
        ("--musicxml", "x.musicxml"),
        ("--page", "index.html"),
    ],
)
def test_own_work_is_replaced_and_a_persons_work_stays(
    flag: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if flag == "--audio":
        pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    path, result = one_note(tmp_path / "x.mid"), tmp_path / name
    command = [str(path), flag, "--output-dir", str(tmp_path)]
    assert render.main(command) == 0
    first = result.read_bytes()
    one_note(path, pitch=A4 + 12)
    assert render.main(command) == 0
    assert result.read_bytes() != first
    result.write_bytes(b"mine")
    capsys.readouterr()
    assert render.main(command) == 2
    assert result.read_bytes() == b"mine"
    assert_one_sentence(capsys.readouterr().err, name)


def test_help_answers_without_loading_anything_heavy() -> None:
    script = (
        "import sys, render\n"
        "try: render.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'matplotlib', 'music21', 'pretty_midi', 'mido', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
    assert time.perf_counter() - started < 5
