"""Lines that most documents of a company repeat are read once."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.cleaning import SAMPLE, Boilerplate
from extraction.documents import Document

FOOTER = "Acme Ltda. All rights reserved. We use cookies to make your visit better."
MENU = "Home\nAbout us\nProducts\nNews\nCareers\n"


def documents_of(texts: Sequence[str]) -> list[Document]:
    return [Document(f"d{number}", "c", text) for number, text in enumerate(texts)]


def read(texts: Sequence[str]) -> list[str]:
    """The texts without what is left out."""
    boilerplate = Boilerplate(documents_of(texts))
    kept = []
    for text in texts:
        spans = boilerplate.left_out(text)
        assert spans == sorted(spans)
        for start, end in reversed(spans):
            assert start == 0 or text[start - 1] == "\n"
            assert end == len(text) or text[end - 1] == "\n"
            text = text[:start] + text[end:]
        kept.append(text)
    return kept


def test_menus_and_footers_stay_in_the_last_document_that_has_them() -> None:
    pages = [f"{MENU}\nPage {n} tells of tiles.\n{FOOTER}\n" for n in range(4)]
    assert read(pages) == [*(f"\nPage {n} tells of tiles.\n" for n in range(3)), pages[3]]
    assert read([*pages, "No footer."])[3:] == [pages[3], "No footer."]


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("The company employs 150 people in its works and offices.", True),
        ("Founded in 1987 by two brothers who came from the north.", True),
        ("2019", True),
        ("€ 150", True),
        ("-" * 100_000 + "x1", True),
        ("7", False),
        ("- 12 -", False),
        ("Página 3 de 12", False),
        ("Page 7", False),
    ],
)
def test_lines_with_digits_stay_unless_they_are_page_numbers(line: str, stays: bool) -> None:
    pages = [f"Facts of {'abcdef'[n]}.\n{FOOTER}\n{line}\n" for n in range(5)]
    kept = [after for after in read(pages) if line in after]
    assert kept == [page.replace(f"{FOOTER}\n", "") for page in pages[:4]] + pages[4:] if stays else pages[4:]


def test_few_documents_repeat_nothing() -> None:
    pages = [f"Page {n}.\n{FOOTER}" for n in range(3)]
    assert read(pages) == pages


def test_half_of_the_documents_are_not_most_of_them() -> None:
    pages = [f"Page {n}.\n{FOOTER if n % 2 else ''}" for n in range(6)]
    assert read(pages) == pages


def test_contact_lines_headings_tables_and_lone_labels_stay() -> None:
    stay = [
        "Write to sales@acme.example for a quotation, we answer within a day.",
        "Visit https://acme.example or one of our showrooms in the whole country.",
        "Telephone of the sales department in the old brick building: (11) 5555-1234",
        "CNPJ of the company that runs this site and its shop: 12.345.678/0001-95",
        "Our office is at 12 Long Street, in the city of Springfield, IL 62704, USA",
        "## About the company and the people who founded it long ago",
        "| Name of the product | Price of the product | Weight of it |",
        "Founded:",
    ]
    pages = ["\n".join(f"{line}\nfact {n}, {i}" for i, line in enumerate(stay)) for n in range(5)]
    assert read(pages) == pages


def test_the_same_text_in_many_documents_counts_once_and_stays_whole() -> None:
    assert read([FOOTER] * 6) == [FOOTER] * 6
    pages = [f"Page {n}.\n{FOOTER}" for n in range(4)]
    assert read([*pages, FOOTER])[-1] == FOOTER


def test_documents_of_the_same_text_lose_the_same() -> None:
    pages = [f"Page {n % 5}.\n{FOOTER}" for n in range(10)]
    kept = read(pages)
    assert kept[:5] == kept[5:]


def test_a_sample_decides_for_a_company_of_many_documents() -> None:
    pages = [f"Page {n}.\n{FOOTER}" for n in range(3 * SAMPLE)]
    assert read(pages)[:-1] == [f"Page {n}.\n" for n in range(3 * SAMPLE - 1)]


lines = st.sampled_from(
    [FOOTER, *MENU.split("\n"), "Page 1", "Tel. +55 11 5555 1234", "", " ", "# Heading", "a\tb"]
)


@given(st.lists(st.lists(lines, max_size=9).map("\n".join), min_size=1, max_size=7))
def test_every_line_stays_at_least_once_and_no_document_is_emptied(texts: list[str]) -> None:
    kept = read(texts)
    before = {line.strip() for text in texts for line in text.split("\n")}
    assert before - {line.strip() for text in kept for line in text.split("\n")} <= {""}
    assert all(bool(after.strip()) == bool(text.strip()) for text, after in zip(texts, kept, strict=True))
