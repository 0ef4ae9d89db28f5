"""The page of a profile, opened from file:// in a real browser.

The pages come from synthetic profiles: `profile_test --page KIND FILE` (tests/unit/profile_test.c).
"""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLOWPROXY_BIN", TOP / "build" / "slowproxy")).resolve().parent
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1400,1000"]

if not (CHROMIUM and CHROMEDRIVER):
    pytest.skip("SKIPPED: chromium or chromedriver is not installed (packages chromium, chromium-driver)", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="SKIPPED: python3-selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS + [f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(CHROMEDRIVER), options=options)
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


class Page:
    def __init__(self, browser, file):
        self.browser, self.file = browser, file
        browser.get_log("browser"), browser.get_log("performance")  # what was before us
        browser.get(file.as_uri())

    def text(self, name):
        return self.browser.find_element(By.ID, name).text

    def box(self, text):
        """Where the widest box with this text is drawn; None when there is none."""
        return self.browser.execute_script("return window.slowproxyPage.find(arguments[0])", text)

    def pointer_at(self, text, along=0.5):
        box = self.box(text)
        assert box, f"no box shows {text}"
        actions = ActionChains(self.browser)
        actions.w3c_actions.pointer_action.move_to_location(int(box["x"] + max(1, box["w"] * along)), int(box["y"] + box["h"] / 2))
        return actions

    def click(self, text):
        actions = self.pointer_at(text)
        actions.w3c_actions.pointer_action.click()
        actions.perform()

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def button(self, css):
        self.browser.find_element(By.CSS_SELECTOR, css).click()

    def wait(self, condition):
        return WebDriverWait(self.browser, 10).until(lambda _: condition())

    def requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture
def open_page(browser, tmp_path):
    def opened(kind):
        if not (BUILD / "profile_test").exists():
            pytest.skip(f"SKIPPED: {BUILD / 'profile_test'} is not built (package libcmocka-dev)")
        file = tmp_path / f"{kind}.html"
        subprocess.run([BUILD / "profile_test", "--page", kind, file], check=True, timeout=60)
        return Page(browser, file)
    yield opened
    assert [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []


def test_the_page_needs_no_network(open_page):
    """A page opened from file:// asks for nothing but itself and complains of nothing."""
    page = open_page("request")
    page.wait(lambda: page.box("wait_for_lock"))
    urls = page.requests()
    assert page.file.as_uri() in urls
    ours = (page.file.as_uri(), "data:", "chrome:")  # chrome: is the browser's own start page
    assert [u for u in urls if not u.startswith(ours)] == []


def test_the_facts_stand_on_top(open_page):
    page = open_page("request")
    assert page.text("title") == "GET /reports/42"
    assert "680 ms in pdf.py:31 (wait_for_lock), blocking the event loop" in page.text("summary")
    assert page.text("took").split("\n") == ["1532.1 ms", "threshold 500 ms"]
    facts = page.text("facts")
    for fact in ("blocking_call", "/app/services/pdf.py:31", "/reports/{id}", "pid 8149, uvicorn, Python 3.11.2"):
        assert fact in facts
    assert page.text("part-keys").split("\n")[3] == "app 1,520 ms"


def test_it_opens_at_the_event_loop_with_idle_samples_hidden(open_page):
    """128 of the loop's 140 samples are not idle; switched on, the idle ones are there."""
    page = open_page("request")
    assert page.text("total") == "128 samples, 1,280 ms"
    assert page.box("metrics-pusher") is None
    page.press("i")
    page.wait(lambda: page.text("total") == "140 samples, 1,400 ms")
    page.press("i")
    page.wait(lambda: page.text("total") == "128 samples, 1,280 ms")


def test_library_frames_are_folded_and_unfolded(open_page):
    page = open_page("request")
    assert page.box("run_until_complete") is None
    assert page.box("asyncio")["depth"] == 1
    page.press("l")
    page.wait(lambda: page.box("run_until_complete"))
    assert page.box("wait_for_lock")["depth"] == 17  # the whole road through uvicorn and FastAPI


def test_the_root_is_on_top_and_can_be_turned_over(open_page):
    page = open_page("request")
    assert page.box("all")["y"] < page.box("wait_for_lock")["y"]
    page.press("r")
    page.wait(lambda: page.box("all")["y"] > page.box("wait_for_lock")["y"])


def test_search_highlights_and_says_how_much(open_page):
    """68 of 128 samples are in wait_for_lock: 53.1 % match, and its box is marked; Esc forgets the search."""
    page = open_page("request")
    page.press("/")
    page.press("wait_for")
    page.wait(lambda: page.text("matched") == "53.1% matched")
    page.wait(lambda: page.box("wait_for_lock")["matched"])
    assert not page.box("load_rows")["matched"]
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.text("matched") == "" and not page.box("wait_for_lock")["matched"])


def test_a_click_zooms_and_escape_zooms_out(open_page):
    page = open_page("request")
    whole = page.box("all")["w"]
    assert page.box("wait_for_lock")["w"] < 0.6 * whole
    page.click("wait_for_lock")
    page.wait(lambda: page.box("wait_for_lock")["w"] > 0.99 * whole)
    assert page.text("zoomed").startswith("wait_for_lock pdf.py:31")
    assert page.box("load_rows") is None
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.box("load_rows"))


def test_the_tooltip_tells_function_file_and_time(open_page):
    page = open_page("request")
    page.pointer_at("wait_for_lock").perform()
    tip = page.wait(lambda: page.text("tip"))
    assert "wait_for_lock" in tip and "/app/services/pdf.py:31" in tip
    assert "680 ms · 53.1% of what is shown · 68 samples" in tip
    assert "in a system call 680 ms" in tip


def test_lanes_can_be_chosen(open_page):
    page = open_page("request")
    page.button("[data-kind=task]")
    page.wait(lambda: page.box("stream feed.py:40"))
    assert page.box("wait_for_lock") is None
    page.button("[data-kind=all]")
    page.wait(lambda: page.box("wait_for_lock") and page.box("metrics-pusher") and page.box("Task-17 stream"))


def test_the_timeline_shows_the_order_of_time(open_page):
    """The query came before the sleep, the sleep before the templates; a click on one shows its stretch of time only."""
    page = open_page("request")
    page.press("t")
    page.wait(lambda: page.box("load_rows"))
    query, sleep, templates = (page.box(name)["x"] for name in ("load_rows", "wait_for_lock", "<listcomp>"))
    assert query < sleep < templates
    page.pointer_at("wait_for_lock").perform()
    assert "system call clock_nanosleep" in page.wait(lambda: page.text("tip"))
    page.click("wait_for_lock")
    page.wait(lambda: page.box("load_rows") is None or page.box("load_rows")["w"] < 60)
    assert page.text("ranged") != ""
    page.press("f")  # the flame graph of that stretch of time
    page.wait(lambda: page.browser.execute_script("return document.body.dataset.view") == "flame")
    assert page.box("wait_for_lock")["w"] > 0.9 * page.box("all")["w"]
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.text("total") == "128 samples, 1,280 ms")


def test_dragging_chooses_a_stretch_of_time(open_page):
    page = open_page("request")
    page.press("t")
    page.wait(lambda: page.box("wait_for_lock"))
    actions = page.pointer_at("wait_for_lock", along=0.25)
    actions.w3c_actions.pointer_action.pointer_down()
    box = page.box("wait_for_lock")
    actions.w3c_actions.pointer_action.move_to_location(int(box["x"] + box["w"] * 0.75), int(box["y"] + 5))
    actions.w3c_actions.pointer_action.pointer_up()
    actions.perform()
    page.wait(lambda: page.text("ranged") != "")
    assert page.box("wait_for_lock")["w"] > 1000
    assert page.box("load_rows") is None


def test_the_timeline_begins_with_what_the_request_was_in(open_page):
    """Above the stacks stand the proxy's phases and what the request was doing, in their places of time; a click on one shows only that."""
    page = open_page("victim")
    page.press("t")
    page.wait(lambda: page.box("proxy: app"))
    queued, awaiting, held = (page.box(name) for name in ("queued", "awaiting", "held up"))
    assert queued["x"] < awaiting["x"] < held["x"] and queued["y"] == awaiting["y"] == held["y"] > page.box("proxy: app")["y"]
    assert held["y"] < page.box("item")["y"]
    stack = page.box("wait_for_lock")  # of whoever held it up: at the same time
    assert abs(stack["x"] - held["x"]) < 3 and abs(stack["w"] - held["w"]) < 3
    page.pointer_at("held up").perform()
    assert "500 ms · 32.6% of the request" in page.wait(lambda: page.text("tip"))
    page.click("held up")
    page.wait(lambda: page.box("held up")["w"] > 1000)


def test_culprits_are_marked(open_page):
    """The stacks of another request that held this one up have another colour, in both views, and the lane says whose they are."""
    page = open_page("victim")
    page.button("[data-kind=all]")
    page.wait(lambda: page.box("HELD THE LOOP: GET /reports/7 (route /reports/{id}"))
    assert page.box("wait_for_lock")["culprit"] and not page.box("item")["culprit"]
    assert "held up by another 500 ms" in page.text("states")
    page.pointer_at("wait_for_lock").perform()
    assert "another's work" in page.wait(lambda: page.text("tip"))
    page.press("t")
    page.wait(lambda: page.box("queued"))
    assert page.box("wait_for_lock")["culprit"] and not page.box("item")["culprit"]


def test_bottom_up(open_page):
    """Bottom up, what ran stands first, and above it who called it."""
    page = open_page("request")
    deep = page.box("wait_for_lock")["depth"]
    page.press("b")
    page.wait(lambda: page.box("wait_for_lock")["depth"] < deep)
    assert page.box("wait_for_lock")["depth"] == 1 and page.box("render pdf.py:88")["depth"] == 2
    page.press("b")
    page.wait(lambda: page.box("wait_for_lock")["depth"] == deep)


def test_a_line_of_the_table_is_searched_by_a_click(open_page):
    page = open_page("request")
    first = page.browser.find_element(By.CSS_SELECTOR, "#lines tr").text.split()
    assert first[:4] == ["680", "ms", "53.1%", "wait_for_lock"]
    page.button("#lines button")
    page.wait(lambda: page.text("matched") == "53.1% matched")


def test_hostile_names_are_only_names(open_page, browser):
    """Quotes, </script>, U+2028, right-to-left, bytes that are no UTF-8, 300 letters: shown, never obeyed."""
    page = open_page("hostile")
    assert browser.title == "GET /</title><script>alert(1)</script> · slowproxy"
    assert browser.execute_script("return document.querySelectorAll('script').length") == 2
    assert "evil\"'</script><script>document.title='owned'</script><!--" in page.text("facts")
    page.button("[data-kind=all]")
    page.wait(lambda: page.box("evil\"'</script>"))
    page.press("/")
    page.press("</script>")
    page.wait(lambda: page.text("matched").endswith("% matched") and not page.text("matched").startswith("0"))
    page.pointer_at("nnnnnnnnnn").perform()
    assert "n" * 300 in page.wait(lambda: page.text("tip"))


def test_an_empty_profile_says_so(open_page):
    page = open_page("empty")
    assert page.text("empty") == "There are no samples."


def test_a_large_profile_stays_usable(open_page, browser):
    """17,000 samples of 30 s: a switch of the view takes less than 5 s, even on a busy machine."""
    page = open_page("large")
    took = browser.execute_script("""
        const begin = performance.now();
        for (const key of ["t", "f"]) dispatchEvent(new KeyboardEvent("keydown", { key }));
        return (performance.now() - begin) / 2;""")
    print(f"a switch of the view took {took:.0f} ms")
    assert page.browser.execute_script("return window.slowproxyPage.boxes()") > 1000
    assert took < 5000


def test_dark_mode_follows_the_system(open_page, browser):
    page = open_page("request")
    background = "return getComputedStyle(document.body).backgroundColor"
    try:
        seen = set()
        for scheme in ("light", "dark"):
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            seen.add(browser.execute_script(background))
        assert len(seen) == 2 and page.box("wait_for_lock")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
