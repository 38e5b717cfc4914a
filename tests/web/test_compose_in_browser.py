"""The page of serve.py in a real Chromium."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import find, needs_browser, open_browser, texts, wait_until
from fill_bands import random_band
from web_server import Server

from midilstm import midi

pytest.importorskip("starlette", reason="requirements-web.txt is not installed")
pytestmark = needs_browser
AUDIO = "document.querySelector('article audio')"
SUMMARY = "document.querySelector('#summary').textContent"
MAIN = "document.querySelector('main').textContent"
ARTICLES = "document.querySelectorAll('article').length"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start one Chromium for all tests."""
    with open_browser() as driver:
        yield driver


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """Open the page; nothing may be written to the browser's console in the test."""
    browser.get_log("browser")
    browser.get(server.address)
    wait_until(browser, "document.querySelectorAll('[name=model] option').length === 2")
    yield browser
    assert browser.get_log("browser") == []


def press(page: Any, text: str, inside: str = "article") -> None:
    """Click the first button of a text."""
    path = f"//{inside}//button[normalize-space()='{text}']"
    button = page.find_elements("xpath", path)[0]
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", button)
    button.click()


def choose_model(page: Any, name: str) -> None:
    """Choose a model by the begin of its name."""
    find(page, "[name=model]").send_keys(name)


def type_into(page: Any, name: str, text: str) -> None:
    """Replace the text of a field of the form."""
    field = find(page, f"[name={name}]")
    field.clear()
    field.send_keys(text)


def upload(page: Any, data: bytes, name: str) -> None:
    """Drop a file of these bytes on the page."""
    page.execute_script(
        """const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(arguments[0])], arguments[1]));
        dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));""",
        [*data],
        name,
    )


def generate(page: Any) -> str:
    """Press Generate, wait for the new piece, and return its name."""
    before = page.execute_script("return document.querySelector('article h2')?.textContent ?? ''")
    press(page, "Generate", "form")
    return wait_for_other(page, before)


def wait_for_other(page: Any, before: str) -> str:
    """Wait until the first piece has another name; return it."""
    name = "document.querySelector('article h2')?.textContent"
    wait_until(page, f"{name} && {name} !== {json.dumps(before)}", 60)
    return str(page.execute_script(f"return {name}"))


def test_a_piece_is_drawn_played_kept_and_thrown_away(page: Any, server: Server) -> None:
    choose_model(page, "notes")
    name = generate(page)
    assert f"{name[:-4]}.json" in server.files()
    wait_until(page, f"{AUDIO}.currentTime > 0.1")
    press(page, "Mute")
    press(page, "Pause")
    wait_until(page, f"{AUDIO}.paused")
    press(page, "Keep")
    wait_until(page, "document.querySelector('article').dataset.state === 'kept'")
    assert server.find(name)["state"] == "kept"
    press(page, "Throw away")
    wait_until(page, "!document.querySelector('#thrown').hidden")
    wait_until(page, f"!document.querySelector('main').textContent.includes({json.dumps(name)})")
    assert f"thrown-away/{name}" in server.files()
    find(page, "#thrown summary").click()
    press(page, "Bring back", "details")
    wait_until(page, f"document.querySelector('main').textContent.includes({json.dumps(name)})")
    press(page, "More like this")
    assert wait_for_other(page, name).endswith("_temperature-1_chars-100.mid")


def test_bars_are_written_again_and_an_instrument_is_kept(page: Any, server: Server) -> None:
    upload(page, midi.to_bytes(random_band(np.random.default_rng(3))), f"{HOSTILE}.mid")
    wait_until(page, "!document.querySelector('#primer').hidden", 30)
    assert f"Continues {HOSTILE}.mid" in find(page, "#primer").text
    wait_until(page, f"{ARTICLES} > 0 && document.querySelector('article .sheet')", 30)
    choose_model(page, "band")
    assert find(page, "[name=amount]").get_property("value") == "16"
    press(page, "Remove the primer", "form")
    primer = page.execute_script("return document.querySelector('article h2').textContent")
    sheet = find(page, "article .sheet")
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", sheet)
    drag(page, sheet)
    bars = find(page, ".bars-field").get_property("value")
    assert "-" in bars
    press(page, "Write these bars again")
    filled = wait_for_other(page, primer)
    body = json.loads((server.output / filled).with_suffix(".json").read_text())
    assert body["fill"] == bars
    assert len(page.find_elements("css selector", "article:first-child .drawn")) >= 1
    press(page, "Keep this, write the others again")
    kept = wait_for_other(page, filled)
    body = json.loads((server.output / kept).with_suffix(".json").read_text())
    assert len(body["kept_instruments"]) == 1
    assert sum("kept" in text for text in texts(page, "article:first-child .legend span")) == 1


def drag(page: Any, sheet: Any) -> None:
    """Drag over the second quarter of a piano roll with the mouse."""
    from selenium.webdriver.common.action_chains import ActionChains

    quarter = min(sheet.size["width"], find(page, ".window").size["width"]) // 4
    actions = ActionChains(page).move_to_element_with_offset(sheet, -quarter, 0)
    actions.click_and_hold().move_by_offset(quarter // 2, 0).move_by_offset(quarter // 2, 0)
    actions.release().perform()


def test_a_drawing_is_stopped_and_a_mistake_is_told(page: Any) -> None:
    choose_model(page, "notes")
    type_into(page, "amount", "1000000")
    press(page, "Generate", "form")
    wait_until(page, "document.querySelector('#jobs').textContent.includes('1000000')", 30)
    press(page, "Stop", "li")
    wait_until(page, "!document.querySelector('#jobs li')")
    type_into(page, "amount", "100")
    type_into(page, "key", HOSTILE)
    press(page, "Generate", "form")
    wait_until(page, "document.querySelector('#jobs .failed')", 30)
    assert HOSTILE in find(page, "#jobs .failed").text


def test_files_that_are_no_midi_files_are_refused(page: Any, server: Server) -> None:
    before = server.files()
    upload(page, b"no music", "x.mid")
    wait_until(
        page, "document.querySelector('#summary').textContent.includes('cannot be read')", 30
    )
    assert server.files() == before
    page.get_log("browser")  # of the answer 400


@pytest.mark.slow
def test_two_tabs_show_the_same_pieces(page: Any, server: Server) -> None:
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(server.address)
    wait_until(page, "document.querySelectorAll('[name=model] option').length === 2")
    name = server.draw(chars="15")["names"][0]
    for window in (page.current_window_handle, first):
        page.switch_to.window(window)
        wait_until(page, f"document.querySelector('main').textContent.includes({json.dumps(name)})")
    page.switch_to.window(next(x for x in page.window_handles if x != first))
    page.close()
    page.switch_to.window(first)


@pytest.mark.slow
def test_a_model_that_is_being_trained_shows_its_curve_and_is_heard(
    page: Any, server: Server
) -> None:
    begin = "epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,3.5,0.1,3.25,0.1,1\n"
    (server.folder / "logs").mkdir()
    log = server.folder / "logs" / "training.csv"
    log.write_text(begin)
    wait_until(page, "!document.querySelector('#training').hidden", 20)
    log.write_text(f"{begin}2,3.1,0.2,2.75,0.2,1\n")
    wait_until(page, "document.querySelector('#curve').textContent.includes('Epoch 2')", 20)
    assert "held-out loss 2.750" in find(page, "#curve").text
    before = page.execute_script("return document.querySelector('article h2')?.textContent ?? ''")
    press(page, "Listen to the newest checkpoint", "form")
    assert "epoch-0001" in wait_for_other(page, before)
    log.unlink()


@pytest.mark.slow
def test_a_server_that_was_killed_is_reported_and_its_pieces_are_there_again(
    start: Callable[[], Server], browser: Any
) -> None:
    other = start()
    browser.get(other.address)
    wait_until(browser, "document.querySelectorAll('[name=model] option').length === 2")
    choose_model(browser, "notes")
    name = generate(browser)
    other.end(signal.SIGKILL)
    wait_until(browser, f"{SUMMARY}.includes('does not answer')")
    browser.get(start().address)
    wait_until(browser, f"{MAIN}.includes({json.dumps(name)})", 60)
    browser.get_log("browser")


@pytest.mark.slow
def test_the_name_of_a_file_is_shown_as_text(page: Any, server: Server) -> None:
    path = server.output / f"{HOSTILE}.mid"
    path.write_bytes(midi.to_bytes(random_band(np.random.default_rng(5))))
    wait_until(page, f"document.querySelector('main').textContent.includes({json.dumps(HOSTILE)})")
    assert (texts(page, "main img"), texts(page, "article h2")[0]) == ([], path.name)
    press(page, "Throw away")
    wait_until(page, "document.querySelector('#thrown').textContent.includes('<img')")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_accessible_and_fits(page: Any, server: Server, width: int) -> None:
    axe = pytest.importorskip("axe_core_python")
    server.draw(chars="20")
    page.set_window_size(width, 900)
    page.refresh()
    wait_until(page, f"{ARTICLES} > 0", 30)
    page.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text())
    page.set_script_timeout(120)
    report = page.execute_async_script("axe.run().then(arguments[0])")
    found = [(x["id"], x["impact"], [y["html"] for y in x["nodes"]]) for x in report["violations"]]
    assert [x for x in found if x[1] in ("serious", "critical")] == []
    inner, scroll = page.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    page.set_window_size(1200, 1000)
    assert scroll <= inner
