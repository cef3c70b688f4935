"""The report in a real browser: it stands alone, is found through, points at the right words, and runs nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from jobs.reports import html_page as page_of
from jobs.state.published_run import PublishedRun
from tests.jobs import outputs
from tests.jobs.helpers import rows_of
from tests.jobs.reports import runs
from tests.jobs.reports.browser import Browser, launched

# Every text that can be seen whose contrast with what is behind it is less than WCAG 2 AA asks for.
PALE = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, noscript")) continue;
    if (!element.getClientRects().length) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const colour = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(colour), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) found.add(`${element.tagName} ${element.className} ${colour}`);
  }
  return [seen, [...found]];
}"""
# Where the part of the document begins in which the mark stands, and its text up to there.
BEFORE_MARK = """() => {
  const mark = document.querySelector("mark.active"), part = mark.closest(".part"), range = new Range();
  range.setStart(part, 0);
  range.setEndBefore(mark);
  const number = [...document.querySelectorAll(".part")].indexOf(part);
  return [viewer.entry.documents[viewer.text.number].parts[number][0], range.toString()];
}"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def out(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run."""
    return runs.run(tmp_path_factory.mktemp("run"), runs.documents())


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 5,000 companies."""
    folder = tmp_path_factory.mktemp("crowd")
    rows = [("name", "Northwind", True, True)]
    names = [f"company-{n:04}" for n in range(5_000)]
    profiles = {name: {"name": "Northwind", "documents": [f"of {name}"], "evidence": rows} for name in names}
    page_of.write_report(PublishedRun.at(str(outputs.publish(folder, profiles))))
    return folder / page_of.REPORT


@pytest.fixture(scope="module")
def browser(out: Path, crowd: Path) -> Iterator[Browser]:
    """A browser; started when all outputs are there, since it keeps this thread's event loop."""
    with launched() as found:
        yield found


def find(page: Page, words: str) -> None:
    page.keyboard.press("/")
    page.keyboard.type(words)


def open_company(page: Page, company_id: str) -> None:
    page.evaluate("(id) => { location.hash = 'company=' + encodeURIComponent(id); }", company_id)
    page.wait_for_function("(id) => viewer?.entry?.id === id", arg=company_id)


def listed(page: Page) -> list[str]:
    return page.locator("#list [role=option] b").all_inner_texts()


def test_it_opens_from_a_disk_without_a_complaint_or_a_request(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        assert "documents became" in page.locator("h1").inner_text()
        page.click("text=Companies")
        for row in rows_of(out, "profiles"):
            open_company(page, row["company_id"])
        assert browser.complaints == []
        assert {url for url in browser.requests if not url.startswith("data:")} == {(out / page_of.REPORT).as_uri()}


def test_it_tells_everything_without_a_script(out: Path, browser: Browser) -> None:
    with browser.without_scripts() as plain, plain.opened(out / page_of.REPORT) as page:
        assert page.locator(".figures .value").first.inner_text() == str(len(rows_of(out, "profiles")))
        assert page.locator(".chart svg").count() >= 3
        assert page.locator(".flow svg.wide").is_visible()


def test_search_finds_by_id_value_and_document(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        for words, company in (("c1", "c1"), ("emoji-1", "emoji"), ("NORTHWIND coimbra", "emoji")):
            find(page, words)
            assert listed(page), words
            page.keyboard.press("Enter")
            assert page.evaluate("viewer.entry.id") == company
        find(page, "no such company")
        assert listed(page) == []
        assert page.locator("p.status").inner_text() == "Nothing found."


def test_evidence_is_highlighted_to_the_character(out: Path, browser: Browser) -> None:
    texts = {row["document_id"]: row["text"] for row in runs.documents()}
    shown = 0
    with browser.opened(out / page_of.REPORT) as page:
        for row in rows_of(out, "profiles"):
            open_company(page, row["company_id"])
            places = [p for e in row["evidence"] if e["chosen"] for p in e["places"]]
            buttons = page.locator(".given:not(.other) .place")
            assert buttons.count() == len(places)
            for number, place in enumerate(places):
                buttons.nth(number).click()
                marked = "".join(page.locator("mark.active").all_text_contents())
                start, before = page.evaluate(BEFORE_MARK)
                assert marked == place["quote"]
                assert before == texts[place["document_id"]][start : place["start"]]
                shown += 1
    assert shown > 20


def test_documents_and_ids_that_attack_stay_text(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        page.click("text=Companies")
        for number, attack in enumerate(runs.ATTACKS):
            open_company(page, f"attack-{number}")
            body = page.locator(".part").evaluate_all("(parts) => parts.map((part) => part.textContent).join('')")
            assert attack in body
        for name in runs.IDS:
            open_company(page, name)
            assert page.evaluate("viewer.entry.id") == name
        assert page.evaluate("window.taken") is None
        assert page.locator("script").count() == 2
        assert page.locator("img, iframe, object, embed, .part b, .part script").count() == 0
        ids = page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)")
        assert all(re.fullmatch(r"row-\d+|report|companies|list|tip|data|h-[a-z]+", each) for each in ids)
        assert page.locator("#companies [id^=row-]").count() > 5
        assert browser.complaints == []


def test_what_cannot_be_seen_is_written_as_its_code(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        open_company(page, "nul\x00inside")
        assert page.locator(".profile header .id").inner_text() == "nul\\u0000inside"
        open_company(page, "\u202ereversed")
        assert page.locator(".profile header .id").inner_text() == "\\u202ereversed"


def test_dead_letters_are_shown_with_reason_and_text(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        find(page, "fault-1")
        page.keyboard.press("Enter")
        assert "invalid" in page.locator(".profile").inner_text()
        assert "Northwind Works 41" in page.locator(".part").inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.click(".chip:has-text('Dead letters')")
        assert listed(page) == ["empty" + runs.SCRIPT, "fault-1"]


def test_a_document_is_stepped_through_by_its_chunks(out: Path, browser: Browser) -> None:
    at = "document.querySelector('.body').scrollTop"
    with browser.opened(out / page_of.REPORT) as page:
        open_company(page, "long")
        marks = page.locator("details.chunk summary")
        assert marks.count() > 2
        assert marks.nth(1).inner_text().startswith(f"chunk 2 of {marks.count()} · ")
        page.click("[aria-label='Next chunk']")
        first = page.evaluate(at)
        page.click("[aria-label='Next chunk']")
        assert page.evaluate(at) > first > 0
        page.click("[aria-label='Previous chunk']")
        assert page.evaluate(at) == first
        marks.nth(1).click()
        assert '"name": ' in page.locator("details.chunk[open] pre").inner_text()


def test_it_is_used_by_keys_alone(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT) as page:
        find(page, "northwind")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "H2"
        first = page.locator(".text h3").inner_text()
        open_company(page, "c1")
        page.keyboard.press("]")
        assert page.locator(".text h3").inner_text() == "d3" != first
        page.keyboard.press("[")
        assert page.locator(".text h3").inner_text() == "d2"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.type") == "search"
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def test_it_follows_the_colours_of_the_system(out: Path, browser: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with browser.opened(out / page_of.REPORT, dark=True) as dark, browser.opened(out / page_of.REPORT) as light:
        assert dark.evaluate(paper) != light.evaluate(paper)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_against_what_is_behind_it(out: Path, browser: Browser, dark: bool) -> None:
    with browser.opened(out / page_of.REPORT, dark=dark) as page:
        seen, pale = page.evaluate(PALE)
        assert seen > 100
        assert pale == []
        open_company(page, "c1")
        page.locator(".place").first.click()
        seen, pale = page.evaluate(PALE)
        assert seen > 40
        assert pale == []


def test_nothing_is_wider_than_a_telephone(out: Path, browser: Browser) -> None:
    with browser.opened(out / page_of.REPORT, width=390, height=844) as page:
        assert page.evaluate(WIDER) == 0
        for company in ("attack-6", "long" * 100, "c0"):
            open_company(page, company)
            assert page.locator(".profile").is_visible()
            assert page.evaluate(WIDER) == 0
            page.locator(".place").first.click()
            assert page.locator(".text .part").first.is_visible()
            assert page.evaluate(WIDER) == 0
            page.click(".text .back")
            page.click(".profile .back")
            assert page.locator("#list").is_visible()


def test_5_000_companies_put_few_elements_into_the_page(crowd: Path, browser: Browser) -> None:
    elements = "document.querySelectorAll('*').length"
    with browser.opened(crowd) as page:
        before = page.evaluate(elements)
        page.click("text=Companies")
        assert page.locator(".chip").first.inner_text() == "All 5,000"
        assert page.evaluate(elements) - before < 300
        page.locator("#list").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
        page.wait_for_selector("text=company-4999")
        assert page.evaluate(elements) - before < 300
        find(page, "company-4321")
        assert [re.sub(r"\s", "", name) for name in listed(page)] == ["Northwind"]
        page.keyboard.press("Enter")
        assert page.evaluate("viewer.entry.id") == "company-4321"
        assert page.evaluate(elements) - before < 300
