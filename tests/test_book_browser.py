"""The book in a real browser: it opens without a network, and the walk computes what numpylm does.

Needs Chromium and its driver (Debian: chromium, chromium-driver), and selenium; else skipped.
"""

import os
import shutil

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.book import write as book
from numpylm.book.walk import LIMIT, STEPS, examples
from numpylm.ops import cross_entropy_backward, softmax_forward

for package in ("ziamath", "mistune", "pygments", "selenium"):
    pytest.importorskip(package)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
if not (CHROMIUM and DRIVER):
    pytest.skip("no Chromium, or no chromedriver", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

SAME = 1e-12  # both are float64; sums are taken in another order
WIDTHS = (1400, 900, 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "book"
    book.write_book(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def site(browser, folder):
    """Open a page of the book by its name."""

    def visit(name):
        resize(browser, WIDTHS[0])
        browser.get("about:blank")
        browser.get(f"{folder.as_uri()}/{name}")
        return browser

    return visit


def resize(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def by_numpylm(page):
    """The same numbers by the library, from the E, the text and the target that the page has."""
    E, ids, y = np.array(page["E"], float), np.array(page["ids"]), page["y"]
    config = AttentionLMConfig(
        vocab_size=len(E), context_length=len(ids), width=E.shape[1], context="last"
    )
    model = AttentionLM(config, np.random.default_rng(0), np.float64)
    model.params["E"] = E
    loss, (cache, loss_cache) = model.loss(ids, np.append(ids[1:], y))
    dlogits = cross_entropy_backward(1.0, loss_cache)
    paths = model.backward_paths(dlogits, cache)
    z, _ = model.forward(ids)
    e, a, c = cache.attention.q, cache.attention.a, cache.attention.c
    dc = np.zeros_like(c)
    dc[-1] = dlogits @ E
    da = dc @ e.T
    ds = a * (da - np.sum(a * da, axis=-1, keepdims=True))
    return {
        "e": e, "s": e @ e.T, "a": a, "c": c, "z": z, "p": softmax_forward(z)[0], "L": loss,
        "dz": dlogits, "dc": dc, "da": da, "ds": ds, "dq": ds @ e, "dk": ds.T @ e, "dv": a.T @ dc,
        **paths._asdict(), "dE": model.loss_backward((cache, loss_cache))["E"],
    }  # fmt: skip


def check_numbers(browser):
    page = browser.execute_script("return numbers()")
    right = by_numpylm(page)
    assert set(page) == {*right, "E", "ids", "y"}
    for name, due in right.items():
        np.testing.assert_allclose(page[name], due, rtol=SAME, atol=SAME, err_msg=name)
        for cell, number in zip(cells(browser, name), np.ravel(due), strict=True):
            if cell != "·":  # a score that is not looked at
                assert abs(float(cell.replace("−", "-")) - number) < 6e-5, name
    return page


def cells(browser, name):
    found = browser.execute_script(
        "return [...document.querySelectorAll(`#table-${arguments[0]} tr + tr td`)]"
        ".map((cell) => cell.textContent)",
        name,
    )
    return found


def type_into(browser, row, column, text):
    field = browser.find_element(By.CSS_SELECTOR, f'[data-row="{row}"][data-column="{column}"]')
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)
    return field


def refused(browser):
    return browser.find_element(By.ID, "refused").text


# ---- the walk --------------------------------------------------------------------------------


def test_the_walk_starts_with_the_numbers_on_paper(site):
    page = check_numbers(site("walk.html"))
    assert page["E"] == [[1, 0], [0, 1], [1, 1]] and page["ids"] == [0, 1, 2] and page["y"] == 0
    assert round(page["L"], 4) == 1.4349


def test_the_walk_goes_through_a_sentence_of_topics(site):
    browser = site("walk.html")
    Select(browser.find_element(By.ID, "example")).select_by_index(1)
    page = check_numbers(browser)
    assert len(page["E"]) == 48
    assert len(set(page["ids"])) < len(page["ids"]), "a word that occurs twice"


def test_everything_follows_a_number_of_E(site):
    browser = site("walk.html")
    for row, column, text, number in (
        (0, 0, "-2.5", -2.5), (2, 1, "1e-3", 1e-3), (1, 0, "+.25", 0.25), (1, 1, "3.", 3.0),
        (0, 1, " 40 ", 40.0),
    ):  # fmt: skip
        type_into(browser, row, column, text)
        assert check_numbers(browser)["E"][row][column] == number
        assert refused(browser) == ""


def test_numbers_at_the_limit_neither_overflow_nor_lose_digits(site):
    browser = site("walk.html")
    type_into(browser, 0, 0, str(LIMIT))
    type_into(browser, 2, 1, str(-LIMIT))
    check_numbers(browser)


def test_random_edits_are_followed(site):
    browser, rng = site("walk.html"), np.random.default_rng(4)
    Select(browser.find_element(By.ID, "example")).select_by_index(1)
    for row, column in zip(rng.integers(48, size=6), rng.integers(3, size=6), strict=True):
        type_into(browser, row, column, repr(float(rng.normal(scale=2))))
        check_numbers(browser)


def test_another_word_may_follow(site):
    browser = site("walk.html")
    Select(browser.find_element(By.ID, "target")).select_by_index(2)
    assert check_numbers(browser)["y"] == 2


def test_E_can_be_had_back(site):
    browser = site("walk.html")
    type_into(browser, 0, 0, "7")
    browser.find_element(By.ID, "reset").click()
    assert check_numbers(browser)["E"] == examples()[0]["E"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("one", "“one” is no number"),
        ("", "“” is no number"),
        ("1,5", "with a point, not a comma"),
        ("-", "“-” is no number"),
        ("NaN", "is no number"),
        ("Infinity", "is no number"),
        ("0x10", "is no number"),
        ("1e999", "too large: at most 1000"),
        ("1000.5", "too large"),
        ("<b>1", "“<b>1” is no number"),
    ],
)
def test_what_is_no_number_is_refused_and_changes_nothing(site, text, says):
    browser = site("walk.html")
    before = browser.execute_script("return numbers()")
    field = type_into(browser, 1, 0, text or Keys.BACKSPACE)
    assert refused(browser).startswith("S2, number 1: ") and says in refused(browser)
    assert field.get_attribute("aria-invalid") == "true"
    assert field.get_attribute("aria-describedby") == "refused"
    after = browser.execute_script("return numbers()")
    kept = {"1,5": 1, "-": 0, "1e999": 1, "1000.5": 1000, "0x10": 0}  # what stood there on the way
    if text not in kept:
        assert after == before
    type_into(browser, 1, 0, "0.5")
    assert refused(browser) == "" and field.get_attribute("aria-invalid") is None
    check_numbers(browser)


def test_each_step_lights_its_formula_its_line_and_its_numbers(site):
    browser = site("walk.html")
    for n, step in enumerate(STEPS):
        shown = browser.execute_script(
            "return [...document.querySelectorAll('.step')].filter((s) => !s.hidden)"
            ".map((s) => s.id)"
        )
        lit = browser.execute_script(
            "return [...document.querySelectorAll('.numbers .lit')].map((f) => f.id)"
        )
        assert shown == [f"step-{step.id}"]
        assert lit == [f"number-{name}" for name in step.numbers]
        assert browser.find_elements(By.CSS_SELECTOR, f"#step-{step.id} .formula svg")
        assert browser.find_elements(By.CSS_SELECTOR, f"#step-{step.id} .line.lit")
        assert browser.find_element(By.ID, "where").text == f"step {n + 1} of {len(STEPS)}"
        button = browser.find_element(By.ID, "next")
        if n + 1 < len(STEPS):
            button.send_keys(Keys.ENTER)  # by the keyboard
        else:
            assert not button.is_enabled()


# ---- the site --------------------------------------------------------------------------------


def test_every_page_fits_its_window_and_does_not_complain(site, folder):
    for path in sorted(folder.glob("*.html")):
        browser = site(path.name)
        for width in WIDTHS:
            resize(browser, width)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"{path.name} is {wide} wide in {width}"
        assert not browser.get_log("browser"), path.name
        broken = browser.execute_script(
            "return [...document.images].filter((i) => i.complete && !i.naturalWidth).length"
        )
        assert broken == 0, path.name


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("F3", "F3 attention weights"),
        ("attention_backward", "attention_backward"),
        ("layer norm", "F13 layer normalisation"),
    ],
)
def test_the_search_finds(site, words, first):
    browser = site("index.html")
    field = browser.find_element(By.ID, "search")
    field.send_keys(words)
    links = browser.find_elements(By.CSS_SELECTOR, "#found a")
    assert links[0].text == first
    field.send_keys(Keys.ENTER)
    assert browser.current_url.endswith(("#F3", "#attention_backward", "#F13"))


def test_the_search_says_when_it_finds_nothing_and_closes(site):
    browser = site("ops.html")
    field = browser.find_element(By.ID, "search")
    field.send_keys("no such thing")
    found = browser.find_element(By.ID, "found")
    assert found.text == "Nothing has all of these words."
    field.send_keys(Keys.ESCAPE)
    assert not found.is_displayed()


def test_an_address_opens_what_it_points_into(site):
    name = "test_f3_softmax_is_exp_over_the_sum_of_exp"
    browser = site(f"tests.html#{name}")
    assert browser.find_element(By.ID, name).get_attribute("open") is not None
