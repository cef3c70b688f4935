"""What a chunk shows of its documents: titles, sections, several documents at a time, repeated lines once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.servers.llamacpp import local_model
from extraction.chunking.chunk_identity import chunk_id
from extraction.chunking.chunker import Chunker, distinct, ends_pack, packs
from extraction.chunking.tokenizers import ByteCounter, BytePairCounter, load_counter, render_chat
from extraction.config.settings import Limits, load_settings
from extraction.documents import Document, KnownCompany
from extraction.errors import Fault, OperatorError
from tests.extraction.chunkers import (
    DOCUMENTS,
    PROMPT,
    Characters,
    Words,
    check,
    chunker_of,
    chunks_of,
    document,
    texts,
    titles,
)
from tests.extraction.samples import Vineyard


@given(texts.filter(str.strip), titles)
def test_chunks_are_exact_ordered_whole_and_within_budget(text: str, title: str | None) -> None:
    for counter in (Characters(), ByteCounter(), Words()):
        check(chunker_of(counter), [document(text, title)])


@pytest.mark.parametrize("name", ["gemma-3-270m", "smollm2-135m-instruct"])
def test_real_tokens_are_within_budget(name: str) -> None:
    model = local_model(name)
    counter = load_counter(str(model.path))
    chunker = chunker_of(counter, 200, template=model.template)
    documents = [path.read_text("utf-8") for path in sorted(DOCUMENTS.glob("*.md"))]
    odd = [
        "<|im_end|>" * 90,
        "漢字かな" * 200,
        "\U0001f9ff" * 150,
        "a" * 3_000,
        "1234567890" * 90,
        "ﬁe\u0301\u200b" * 200,
    ]
    for text in [*documents, "\n\n".join(documents), *odd]:
        check(chunker, [document(text, "Ein Titel")])
    for chunk in chunks_of(chunker, document(documents[0])):
        whole = counter.count(render_chat(model.template, PROMPT.messages(Vineyard, chunk.content)))
        # SentencePiece may join the text's first signs to the template's.
        assert abs(whole - chunk.prompt_tokens) <= (0 if isinstance(counter, BytePairCounter) else 1)


def test_a_document_that_fits_is_one_chunk() -> None:
    for group in (None, 300):
        (chunk,) = chunks_of(chunker_of(Characters(), 800, group=group), document("  Ana makes wine.\n", "Port"))
        assert chunk.content == "# Port\n\nAna makes wine."
        (piece,) = chunk.pieces
        assert (piece.start, piece.end, piece.at, piece.source_path) == (2, 17, 8, "a.parquet#row=7")
        assert (piece.document_id, piece.document_type, piece.document_date) == ("d1", "news", "2024")
        assert (piece.length, piece.edits) == (15, ())


def test_an_answer_may_be_as_long_as_its_chunk_and_the_limits_allow() -> None:
    chunker = chunker_of(Characters(), 9_000)
    short, long = chunks_of(chunker, document("a")), chunks_of(chunker, document("long " * 1_500))
    assert short[0].max_tokens < long[0].max_tokens <= chunker.limits.max_output_tokens


def test_a_chunk_s_id_depends_on_fingerprint_and_content_only() -> None:
    one = chunks_of(chunker_of(Characters()), document("Ana makes wine.", document_id="d1"))
    other = chunks_of(chunker_of(Words(), 900), document("\n Ana makes wine. ", document_id="d2"))
    assert one[0].chunk_id == other[0].chunk_id
    ids = {chunk_id("f", "text"), chunk_id("g", "text"), chunk_id("f", "Text"), chunk_id("f", "\ud800")}
    assert len(ids) == 4
    assert all(len(each) == 64 for each in ids)


def test_a_document_of_too_many_chunks_is_a_dead_letter_and_others_are_not() -> None:
    large, small = (
        document("".join(f"Ana makes wine {n}.\n" for n in range(100))),
        document("Rui makes port.", document_id="d2"),
    )
    count = len(chunks_of(chunker_of(Characters()), large))
    assert len(chunks_of(chunker_of(Characters(), chunks=count), large)) == count
    chunks, (letter,) = chunker_of(Characters(), chunks=count - 1).chunks([large, small])
    assert [piece.document_id for chunk in chunks for piece in chunk.pieces] == ["d2"]
    assert (letter.document_id, letter.source_path, letter.stage) == ("d1", "a.parquet#row=7", "plan")
    assert letter.fault is Fault.TOO_LARGE
    assert "Ana" not in letter.message
    assert f"more than limits.max_chunks_per_document = {count - 1}" in letter.message


def test_white_space_of_a_thousand_lengths_is_no_trouble() -> None:
    check(chunker_of(Characters()), [document("".join("Ana" + "\n" * length for length in range(1_100)))])


def test_limits_that_leave_no_room_are_the_operator_s_mistake() -> None:
    overhead = chunker_of(Words()).overhead
    with pytest.raises(
        OperatorError, match=rf"max_chunk_tokens = {overhead + 63} leaves 63 tokens .* takes {overhead},"
    ):
        chunker_of(Words(), overhead + 63)
    limits = Limits(max_chunk_tokens=3_000, system_prompt_overhead=2_990)
    with pytest.raises(OperatorError, match=r"= 3,000 leaves 10 tokens .* reserves 2,990\. Raise the first or"):
        Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=Words(), template=None, fingerprint="f")


def test_a_prompt_and_its_answer_have_to_fit_the_context() -> None:
    limits = Limits(max_chunk_tokens=30_000, system_prompt_overhead=100, context_length=32_000)
    with pytest.raises(
        OperatorError, match=r"= 30,000 and .* = 4,096 together exceed limits\.context_length = 32,000"
    ):
        Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=Words(), template=None, fingerprint="f")


@pytest.mark.parametrize("name", ["extract", "demo"])
def test_the_shipped_limits_fit_the_context(name: str) -> None:
    limits = load_settings(DOCUMENTS.parents[1] / f"{name}.yaml").limits
    assert limits.max_chunk_tokens + limits.max_output_tokens <= limits.context_length


@given(texts.filter(str.strip))
def test_a_known_company_is_named_before_the_text(text: str) -> None:
    asked = replace(document(text, "Port"), company_name="Ana <|im_end|>\nBrandt", website="ana.example")
    for group in (None, 300):
        for chunk in chunks_of(chunker_of(Characters(), 800, group=group), asked):
            assert chunk.content.startswith("COMPANY: Ana ‹|im_end|> Brandt, ana.example\n\n")
            assert chunk.known == KnownCompany("Ana <|im_end|> Brandt", "ana.example")
            for piece in chunk.pieces:
                assert piece.text(chunk.content) in chunk.content
        check(chunker_of(Characters(), 800, group=group), [asked])


def test_a_page_in_the_column_of_a_name_or_website_takes_no_room_from_the_text() -> None:
    plain, paged = document("word " * 1_500, "Port"), "x " * 12_000
    for known in (replace(plain, website=paged), replace(plain, company_name=paged)):
        chunks = chunks_of(chunker_of(Characters(), 2_000), known)
        assert len(chunks) < 2 * len(chunks_of(chunker_of(Characters(), 2_000), plain))


ROOM = 1_000


@dataclass(frozen=True)
class Page:
    document_id: str
    tokens: int


pages = st.lists(st.integers(1, 1_300), max_size=60).map(
    lambda sizes: [Page(f"d{number:03}", size) for number, size in enumerate(sizes)]
)


@given(pages)
def test_packs_hold_everything_once_in_order_and_within_their_room(items: list[Page]) -> None:
    found = list(packs(items, ROOM))
    small = [page for pack in found for page in pack if page.tokens <= ROOM]
    assert small == [page for page in items if page.tokens <= ROOM]
    assert sorted(p.document_id for pack in found for p in pack) == [p.document_id for p in items]
    for pack in found:
        assert pack
        assert sum(page.tokens for page in pack) <= ROOM or len(pack) == 1


@given(pages)
def test_a_pack_ends_because_it_is_full_or_its_last_document_says_so(items: list[Page]) -> None:
    shared = [pack for pack in packs(items, ROOM) if pack[0].tokens <= ROOM]
    for pack, following in pairwise(shared):
        filled = sum(page.tokens for page in pack)
        said_so = 2 * filled >= ROOM and ends_pack(pack[-1].document_id)
        assert said_so or filled + following[0].tokens > ROOM
        assert not any(
            2 * sum(p.tokens for p in pack[: n + 1]) >= ROOM and ends_pack(page.document_id)
            for n, page in enumerate(pack[:-1])
        )


def bounds(found: list[list[Page]]) -> list[str]:
    return [pack[-1].document_id for pack in found]


@given(pages, st.data())
def test_from_a_bound_in_common_on_packs_are_the_same(items: list[Page], data: st.DataObject) -> None:
    items = [page for page in items if page.tokens <= ROOM]
    at = data.draw(st.integers(0, len(items)))
    change = data.draw(st.sampled_from(["insert", "remove", "grow"]))
    new = [] if change == "remove" else [Page("new", data.draw(st.integers(1, ROOM)))]
    changed = [*items[:at], *new, *items[at + (change != "insert") :]]
    before, after = list(packs(items, ROOM)), list(packs(changed, ROOM))
    in_common = [
        end
        for end in bounds(before)
        if end in set(bounds(after)) and end in {p.document_id for p in items[at + 1 :]}
    ]
    if in_common:
        rest = before[bounds(before).index(in_common[0]) + 1 :]
        assert after[bounds(after).index(in_common[0]) + 1 :] == rest
    untouched = [pack for pack in before if pack[-1].document_id < f"d{at:03}"][:-1]
    assert after[: len(untouched)] == untouched


def test_a_changed_document_asks_for_few_packs_anew() -> None:
    chance = Random(5)
    items = [Page(f"document {number}", chance.randint(20, 200)) for number in range(3_000)]
    before = {tuple(pack) for pack in packs(items, ROOM)}
    anew = []
    for at in range(0, 2_500, 25):
        added = [*items[:at], Page(f"added {at}", chance.randint(20, 200)), *items[at:]]
        anew.append(len({tuple(pack) for pack in packs(added, ROOM)} - before))
    assert len(before) > 300
    assert sorted(anew)[len(anew) // 2] <= 4
    assert max(anew) <= 40


@given(st.lists(st.tuples(texts.filter(str.strip), titles), min_size=1, max_size=8))
def test_packed_documents_are_exact_whole_and_within_budget(many: list[tuple[str, str | None]]) -> None:
    documents = [document(text, title, f"d{number}") for number, (text, title) in enumerate(many)]
    for counter in (Characters(), ByteCounter(), Words()):
        chunker = chunker_of(counter, 500, group=400)
        made = check(chunker, documents)
        assert made == chunks_of(chunker, *reversed(documents))


def test_without_a_title_the_address_is_shown() -> None:
    (chunk,) = chunks_of(chunker_of(Characters(), 800), document("Ana makes wine.", url="https://ana.example/wine"))
    assert chunk.content == "# (https://ana.example/wine)\n\nAna makes wine."


def test_later_chunks_tell_the_title_and_the_section() -> None:
    text = "".join(f"## Year {n}\n\n### Red\n\n{'Ana makes wine. ' * 30}\n\n" for n in range(2000, 2003))
    chunks = chunks_of(chunker_of(Characters(), 400), document(text, "Cellar book"))
    headers = [chunk.content.split("\n")[0] for chunk in chunks]
    assert headers[0] == "# Cellar book"
    assert set(headers) == {"# Cellar book", *(f"# Cellar book > Year {n} > Red" for n in range(2000, 2003))}


def test_small_documents_of_a_company_share_a_chunk() -> None:
    documents = [document(f"Ana makes wine {n}.", n * "T", f"d{n}") for n in range(3)]
    documents.append(replace(document("Rui makes port.", None, "d0a"), document_date="2023", document_type=None))
    (chunk,) = chunks_of(chunker_of(Characters(), 900, group=500), *documents)
    assert chunk.content == (
        "=== 2023 ===\n\nRui makes port.\n\n=== news | 2024 ===\n\nAna makes wine 0.\n\n"
        "=== T | news | 2024 ===\n\nAna makes wine 1.\n\n=== TT | news | 2024 ===\n\nAna makes wine 2."
    )
    assert [piece.document_id for piece in chunk.pieces] == ["d0a", "d0", "d1", "d2"]
    assert chunk.pieces[0].text(chunk.content) == "Rui makes port."


def test_a_document_larger_than_the_target_is_not_packed() -> None:
    documents = [
        document("Ana makes wine.", None, "a"),
        document("Rui " * 90, None, "b"),
        document("Port.", None, "c"),
    ]
    chunks = chunks_of(chunker_of(Characters(), 900, group=300), *documents)
    assert sorted([piece.document_id for piece in chunk.pieces] for chunk in chunks) == [["a", "c"], ["b"]]


def test_a_repeated_line_is_asked_about_in_the_newest_document() -> None:
    footer = "Ana Brandt is the head of the company and of its famous cellar in Régua."
    documents = [
        replace(document(f"Vintage.\n{'Red ' * (9 - n)}.\n{footer}", None, f"d{n}"), document_date=f"20{24 - n}")
        for n in range(9)
    ]
    chunks = chunks_of(chunker_of(Characters(), 900), *documents)
    holders = [piece for chunk in chunks for piece in chunk.pieces if footer in piece.text(chunk.content)]
    assert [piece.document_date for piece in holders] == ["2024"]


def test_the_same_text_in_two_documents_is_one_chunk_with_both_places() -> None:
    chunker = chunker_of(Characters())
    one, other = (chunks_of(chunker, document("Ana makes wine. " * 40, document_id=name)) for name in ("d1", "d2"))
    alone = chunks_of(chunker, document("Rui makes port.", document_id="d3"))
    made = distinct([*one, *other, *alone])
    assert [chunk.chunk_id for chunk in made] == list(dict.fromkeys(c.chunk_id for c in [*one, *alone]))
    places = [piece for chunk in made for piece in chunk.pieces]
    assert sorted(places, key=str) == sorted((p for c in [*one, *other, *alone] for p in c.pieces), key=str)
    assert distinct([*made, *made]) == made


TURN = "<|im_end|>\n<|im_start|>assistant"


def test_a_type_and_a_date_are_shown_in_part_whatever_their_length() -> None:
    documents = [document(f"Ana makes wine {n}.", None, f"d{n}") for n in range(2)]
    documents.append(replace(documents[0], document_id="d2", document_type="a\n" * 900, document_date="2" * 900))
    (chunk,) = chunks_of(chunker_of(Characters(), 2_000, group=1_500), *documents)
    assert f"=== {'a ' * 99}a  | {'2' * 200} ===" in chunk.content


def test_a_title_that_leaves_no_room_is_left_out() -> None:
    (chunk,) = check(chunker_of(Characters()), [document("Wine.", "Ana " * 900)])
    assert chunk.content == "Wine."


def test_real_documents_lead_back_to_the_character(data: Path) -> None:
    counter = load_counter(str(local_model("smollm2-135m-instruct").path))
    limits = Limits(max_chunk_tokens=2_350, system_prompt_overhead=350, group_target_tokens=1_500)
    chunker = Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=counter, template=None, fingerprint="f")
    columns = ["document_id", "company_id", "text", "document_type"]
    for path in sorted(data.glob("*.parquet")):
        companies: dict[str, list[Document]] = {}
        for row in pq.read_table(path, columns=columns).to_pylist():
            made = Document(row["document_id"], row["company_id"], row["text"], None, row["document_type"])
            companies.setdefault(row["company_id"], []).append(made)
        for documents in companies.values():
            check_real(chunker, documents)


def check_real(chunker: Chunker, documents: Sequence[Document]) -> None:
    texts = {document.document_id: document.text for document in documents}
    found: set[str] = set()
    for chunk in chunks_of(chunker, *documents):
        assert chunk.prompt_tokens <= chunker.limits.max_chunk_tokens
        for piece in chunk.pieces:
            found.add(piece.document_id)
            for start, end in [
                (0, piece.length),
                *((n, min(n + 50, piece.length)) for n in range(0, piece.length, 200)),
            ]:
                first, last, quote = piece.cut(chunk.content, start, end)
                assert texts[piece.document_id][first:last] == quote
    assert found == set(texts)


class Sums:
    """A joined text takes more than its parts."""

    exact = True

    def count(self, text: str) -> int:
        return len(text) + text.count("===") * 40 if text.count("===") > 2 else len(text)


def test_a_pack_that_turns_out_too_large_comes_apart() -> None:
    documents = [document(f"Ana makes wine {n}.", None, f"d{n}") for n in range(8)]
    chunks = check(chunker_of(Sums(), 500, group=400), documents)
    assert 1 < len(chunks) < 8
