"""What is read is mended, and what was mended is told to the character."""

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking import cleaning
from extraction.chunking.cleaning import SAMPLED_DOCUMENTS, Boilerplate, Clean, clean
from extraction.documents import Document
from extraction.prompting.prompt import SPECIAL_TOKEN


def mojibake(text: str) -> str:
    return text.encode("utf-8").decode("cp1252", errors="ignore")


def check(text: str, read: Clean) -> None:
    """The edits are in order, and putting them back gives the text."""
    parts, here, reached = [], 0, 0
    for edit in read.edits:
        assert here <= edit.at and reached <= edit.start < edit.end
        kept = read.text[here : edit.at]
        assert text[reached : edit.start] == kept
        assert text[edit.start : edit.end] == edit.original != read.text[edit.at : edit.at + edit.length]
        parts += [kept, edit.original]
        here, reached = edit.at + edit.length, edit.end
    assert "".join([*parts, read.text[here:]]) == text


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (mojibake("São Paulo e Região"), "São Paulo e Região"),
        ("It is the companyâ€™s plant", "It is the company’s plant"),
        ("ﬁne oﬃces", "fine offices"),
        ("Silva &amp; Filhos", "Silva & Filhos"),
        ("a < b &amp; c", "a < b &amp; c"),
        ("Re\u0301gua", "Régua"),
        ("one\x00 two\x07", "one two"),
        ("\ufeffAcme", "Acme"),
        ("Main St\x0bTown", "Main St Town"),
        ("Acme\x85 makes", "Acme… makes"),
        ("x <|im_end|> </s>", "x ‹|im_end|> ‹/s>"),
        ("&lt;|im_end|&gt;", "‹|im_end|>"),
    ],
)
def test_what_is_broken_is_mended(said: str, read: str) -> None:
    cleaned = clean(f"A line.\n{said}\nAnother line.")
    assert cleaned.text == f"A line.\n{read}\nAnother line."
    check(f"A line.\n{said}\nAnother line.", cleaned)


@pytest.mark.parametrize(
    "text",
    [
        "Plain text, with a tab\tand\r\nlines.\n\n",
        "“Quoted” – it’s… • fine\u00a0then",
        "Ação, Região, coração, SÃO PAULO, ÂNGULO, avô, pôr",
        "Größe, Łódź, Çeşme, naïve, Œuvre, 1º, 2ª, § 3, 20 °C, ½",
        "Москва Ελλάδα 株式会社 한국어 ＡＢＣ ｶﾅ שלום عالم",
        "Tom & Jerry; AT&T; a<b",
    ],
)
def test_what_is_right_stays(text: str) -> None:
    assert clean(text) == Clean(text)


def test_changes_are_as_short_as_words() -> None:
    text = mojibake("São Paulo") + " is " + mojibake("coração") + " & Re\u0301gua"
    assert [edit.original for edit in clean(text).edits] == ["Ã£", "Ã§Ã£", "e\u0301"]


def test_what_is_left_out_is_one_edit_whatever_it_held() -> None:
    text = "Acme\nmenu \x00\nfooter ﬁ\nmakes ﬁne wine"
    read = clean(text, [(5, 12), (12, 21)])
    assert read.text == "Acme\nmakes fine wine"
    check(text, read)
    assert [edit.original for edit in read.edits] == ["menu \x00\nfooter ﬁ\n", "ﬁ"]


def test_a_text_of_control_characters_is_left_as_it_is() -> None:
    assert clean("\x1b[31m") == Clean("\x1b[31m")


@pytest.mark.parametrize("before", ["", "x" * 1_993, "é" * 1_998, "e\u0301" * 999, "word " * 399])
def test_a_turn_is_defused_wherever_a_line_is_cut(before: str) -> None:
    text = f"{before}<|im_end|> {before}</s>"
    read = clean(text)
    assert read.text == unicodedata.normalize("NFC", f"{before}‹|im_end|> {before}‹/s>")
    assert [edit.original for edit in read.edits if edit.original == "<"] == ["<", "<"]
    check(text, read)


def test_a_turn_that_arises_where_something_is_left_out_or_mended_is_defused() -> None:
    text = "Wine <|im_\nfooter\nend|> <\x00/s> &lt;s&gt; here"
    read = clean(text, [(10, 18)])
    assert read.text == "Wine ‹|im_end|> ‹/s> &lt;s&gt; here"
    assert [edit.original for edit in read.edits] == ["<", "\nfooter\n", "<", "\x00"]
    check(text, read)


@pytest.mark.parametrize("text", ["re\u0301gua ", "<s>", "&amp; ", "\x00ab ", "ﬁ\n"])
def test_of_too_many_edits_those_near_each_other_are_one(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(cleaning, "MOST_EDITS", 10)
    whole = "plain\n" + text * 1_000
    read = clean(whole)
    check(whole, read)
    assert 10 < len(read.edits) <= 10 + len(whole) / cleaning.NEAR_MISS
    assert max(len(edit.original) for edit in read.edits) < cleaning.NEAR_MISS + len(text)


parts = st.sampled_from(
    [
        *(
            "word ",
            "São ",
            "\n",
            "\r\n",
            "\x00",
            "\x0b",
            "\x1b[1m",
            "&amp;",
            "&#8217;",
            "&nbsp;",
            "ﬁ",
            "<|x|>",
            "</s>",
        ),
        *(
            "e\u0301",
            "\u0301",
            "Ã£",
            "â€™",
            "Â ",
            "ï»¿",
            "\ufffd",
            "漢字",
            "Ð¿Ñ€Ð¸Ð²ÐµÑ‚",
            "\U0001f600",
            "x" * 2_100,
        ),
    ]
)


@given(st.lists(parts | st.text(max_size=4), max_size=40).map("".join))
def test_any_text_can_be_put_back_and_is_clean_afterwards(text: str) -> None:
    read = clean(text)
    check(text, read)
    if read.text.strip():
        assert not SPECIAL_TOKEN.search(read.text)
        assert all(unicodedata.is_normalized("NFC", line) for line in read.text.split("\n") if len(line) < 2_000)


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
    pages = [f"Page {n}.\n{FOOTER}" for n in range(3 * SAMPLED_DOCUMENTS)]
    assert read(pages)[:-1] == [f"Page {n}.\n" for n in range(3 * SAMPLED_DOCUMENTS - 1)]


lines = st.sampled_from(
    [FOOTER, *MENU.split("\n"), "Page 1", "Tel. +55 11 5555 1234", "", " ", "# Heading", "a\tb"]
)


@given(st.lists(st.lists(lines, max_size=9).map("\n".join), min_size=1, max_size=7))
def test_every_line_stays_at_least_once_and_no_document_is_emptied(texts: list[str]) -> None:
    kept = read(texts)
    before = {line.strip() for text in texts for line in text.split("\n")}
    assert before - {line.strip() for text in kept for line in text.split("\n")} <= {""}
    assert all(bool(after.strip()) == bool(text.strip()) for text, after in zip(texts, kept, strict=True))
