"""The listening page in a real Chromium, opened from disk."""

import hashlib
import json
import os
import wave
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import find, needs_browser, open_browser, texts, wait_until
from midi_bytes import notes, smf

import render
from midilstm.copies import Copy, CopyReport, NoteSpan

pytestmark = needs_browser
TAB, SPACE, ENTER, HOME, RIGHT, SHIFT = "\ue004", "\ue00d", "\ue007", "\ue011", "\ue014", "\ue008"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>.mid".replace("/", "\u2215")
A4 = smf(notes((0, 8, 69)))
AUDIO = "document.querySelector('audio')"
AUDIOS = "document.querySelectorAll('audio')"
Show = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start one Chromium for all tests."""
    with open_browser() as driver:
        yield driver


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Show]:
    """Return a function that writes pieces, newest first, builds their page and opens it.

    Nothing may be written to the browser's console in the test.
    """

    def build_and_open(*pieces: tuple[str, bytes]) -> Any:
        for age, (name, data) in enumerate(pieces):
            (tmp_path / name).write_bytes(data)
            os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
        assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
        browser.get((tmp_path / "index.html").as_uri())
        return browser

    browser.get_log("browser")
    yield build_and_open
    assert browser.get_log("browser") == []


def test_pieces_are_listed_newest_first_and_play_one_at_a_time(
    show: Show, band: bytes, repeating: bytes
) -> None:
    page = show(("new.mid", band), ("old.mid", repeating))
    assert texts(page, "h2") == ["new.mid", "old.mid"]
    instruments = ["Acoustic Grand Piano", "Acoustic Bass", "Percussion"]
    assert texts(page, "article:first-child .legend li span") == instruments
    assert len(texts(page, "article:first-child path.notes")) == 3
    fills = [span.get_attribute("fill") for span in page.find_elements("css selector", ".repeat")]
    assert (len(fills), len(set(fills))) == (2, 1)
    assert "repeats" in texts(page, "article:last-child .legend li")[-1]
    first, second = page.find_elements("css selector", ".play")
    first.click()
    wait_until(page, f"{AUDIO}.currentTime > 0.1")
    second.click()
    wait_until(page, f"{AUDIOS}[1].currentTime > 0.1")
    assert page.execute_script(f"return {AUDIO}.paused")


def test_clicks_play_pause_and_seek(show: Show, band: bytes) -> None:
    page = show(("band.mid", band))
    button, start = find(page, ".play"), find(page, ".cursor").rect["x"]
    button.click()
    wait_until(page, f"{AUDIO}.currentTime > 0.5")
    assert find(page, ".cursor").rect["x"] > start + 50
    assert button.accessible_name == "Pause band.mid"
    button.click()
    # The audio pauses before the button changes.
    wait_until(page, "document.querySelector('.play').textContent === 'Play'")
    assert page.execute_script(f"return {AUDIO}.paused")
    # Selenium clicks the middle of an element: half of four seconds.
    find(page, ".sheet").click()
    assert page.execute_script(f"return {AUDIO}.currentTime") == pytest.approx(2, abs=0.02)


def zero_crossings(page: Any, start: float, end: float) -> int:
    """Play the first piece; count the rising zero crossings from start to end, in seconds."""
    page.execute_script(
        """const create = URL.createObjectURL;
        URL.createObjectURL = (blob) => create.call(URL, window.sound = blob);"""
    )
    find(page, ".play").click()
    wait_until(page, f"{AUDIO}.duration > 0")
    samples = page.execute_async_script(
        """const done = arguments[0];
        sound.arrayBuffer().then((bytes) => done([...new Int16Array(bytes.slice(44))]));"""
    )
    values = samples[round(22050 * start) : round(22050 * end)]
    return sum(before < 0 <= after for before, after in pairwise(values))


def test_synthesised_sound_has_the_piece_s_length_and_a4_at_440_hz(show: Show) -> None:
    page = show(("a4.mid", A4))
    assert zero_crossings(page, 1, 2) == pytest.approx(440, abs=1)
    assert 4 <= page.execute_script(f"return {AUDIO}.duration") <= 5.1


def test_the_page_can_be_used_by_keyboard(show: Show, band: bytes) -> None:
    page = show(("band.mid", band))
    find(page, "body").send_keys(TAB)
    assert page.switch_to.active_element.accessible_name.startswith("Piano roll: 0:04 long, 2 bars")
    page.switch_to.active_element.send_keys(TAB)
    button = page.switch_to.active_element
    assert button.accessible_name == "Play band.mid"
    assert button.value_of_css_property("outline-style") == "solid"
    button.send_keys(SPACE)
    wait_until(page, f"{AUDIO}.currentTime > 0.1")
    button.send_keys(ENTER)
    wait_until(page, f"{AUDIO}.paused")
    button.send_keys(TAB)
    seek = page.switch_to.active_element
    assert seek.accessible_name == "Position in band.mid"
    seek.send_keys(HOME, RIGHT, RIGHT)
    wait_until(page, f"{AUDIO}.currentTime === 2")
    assert seek.get_attribute("aria-valuetext") == "2 s of 4 s"


def test_hostile_names_and_settings_are_shown_as_text(tmp_path: Path, show: Show) -> None:
    command = "</script><script>alert(3)</script>"
    (tmp_path / HOSTILE).with_suffix(".json").write_text(json.dumps({"seed": 7, "key": command}))
    page = show((HOSTILE, A4))
    assert texts(page, "h2") == [HOSTILE]
    assert (texts(page, "img"), len(texts(page, "script"))) == ([], 2)
    assert (texts(page, "dt"), texts(page, "dd")) == (["seed", "key"], ["7", command])


def test_a_wav_file_is_played_and_replaced_by_synthesis_when_it_is_missing(
    tmp_path: Path, show: Show
) -> None:
    path = tmp_path / "100% a#4? caf\udce9.mid"  # its last letter is Latin-1
    with wave.open(str(path.with_suffix(".wav")), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    page = show((path.name, A4))
    for source in ("file:", "blob:"):
        find(page, ".play").click()
        wait_until(page, f"{AUDIO}.currentTime > 0.1")
        assert page.execute_script(f"return {AUDIO}.src").startswith(source)
        path.with_suffix(".wav").unlink(missing_ok=True)
        page.refresh()
    assert "100%25%20a%234%3F%20caf%E9.wav" in page.get_log("browser")[0]["message"]


def test_a_copied_passage_can_be_played_in_both_pieces(
    show: Show, band: bytes, tmp_path: Path
) -> None:
    passage = (NoteSpan(0, 1, 69, 90, 0), NoteSpan(0.5, 0.6, 36, 90, -1))
    copy = Copy(hashlib.sha256(band).hexdigest(), HOSTILE, -2, 16, (1, 2), passage)
    CopyReport({"band.mid": copy}).save(tmp_path)
    settings = {"ranking": {"score": 0.35, "nll": 2.1}, "key": "D minor"}
    (tmp_path / "band.json").write_text(json.dumps(settings))
    page = show(("band.mid", band))
    assert "D minor" in texts(page, "dd")
    text = find(page, ".copied p").text
    assert "16 tokens from 0:02 to 0:04 also occur in" in text
    assert "2 semitones lower" in text
    assert find(page, "p.quiet:not(#summary)").text.endswith(" · score 0.35")
    buttons = page.find_elements("css selector", ".play")
    assert buttons[1].accessible_name == "Play In this piece"
    for index in (1, 2):
        buttons[index].click()
        wait_until(page, f"{AUDIOS}[{index}].currentTime > 0.1")
    lengths = page.execute_script(f"return [{AUDIOS}[1].duration, {AUDIOS}[2].duration]")
    assert lengths == pytest.approx([3, 2], abs=0.01)  # with a second of release


def test_parts_are_muted_and_bars_loop(show: Show, band: bytes) -> None:
    page = show(("band.mid", band))
    find(page, ".play").click()
    wait_until(page, f"{AUDIO}.currentTime > 0.1")
    source = page.execute_script(f"return {AUDIO}.src")
    mute, solo = page.find_elements("css selector", ".legend li:first-child button")
    for button, name in ((mute, "Mute"), (solo, "Solo")):
        button.click()
        assert button.accessible_name == f"{name} Acoustic Grand Piano"
        assert button.get_attribute("aria-pressed") == "true"
        wait_until(page, f"{AUDIO}.src !== {source!r} && {AUDIO}.currentTime > 0.1")
        source = page.execute_script(f"return {AUDIO}.src")
    find(page, ".window").send_keys(RIGHT, SHIFT + RIGHT)
    assert find(page, ".bars-field").get_attribute("value") == "2"
    page.find_elements("css selector", ".player button")[1].click()  # Loop
    wait_until(page, f"{AUDIO}.currentTime > 3.5")
    wait_until(page, f"{AUDIO}.currentTime < 3 && {AUDIO}.currentTime >= 2 && !{AUDIO}.paused")
