"""E-mail addresses, telephone numbers and web addresses, told from what looks like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.contacts import (
    email_key,
    is_email,
    is_phone,
    is_website,
    phone_key,
    same_phone,
    url_key,
    website_key,
)


@pytest.mark.parametrize(
    "address", ["info@acme.example", "Info@ACME.example", "mailto:info@acme.example", "<info@acme.example>."]
)
def test_an_email_address_is_one_however_it_is_written(address: str) -> None:
    assert is_email(address)
    assert email_key(address) == "info@acme.example"


@pytest.mark.parametrize(
    "text", ["acme.example", "info@acme", "info at acme.example", "a b@acme.example", "", "@acme"]
)
def test_other_texts_are_no_email_addresses(text: str) -> None:
    assert not is_email(text)


@pytest.mark.parametrize(
    ("number", "key"),
    [
        ("+55 (11) 3333-4444", "+551133334444"),
        ("0055 11 3333 4444", "+551133334444"),
        ("(11) 3333-4444", "1133334444"),
        ("(11) 1234-5678", "1112345678"),
        ("Tel.: (11) 3333-4444 ramal 12", "1133334444"),
        ("Fone/Fax: (11) 3333-4444 / 3333-4445", "1133334444"),
        ("+1 312 555 0142 ext. 5", "+13125550142"),
        ("353 21-555-5000", "353215555000"),
        ("555-0142", "5550142"),
        ("01.42.34.56.78", "0142345678"),
        ("912 345 678", "912345678"),
        ("(312)‑555–0142", "3125550142"),
        ("3125550142", "3125550142"),
    ],
)
def test_telephone_numbers_are_accepted(number: str, key: str) -> None:
    assert is_phone(number)
    assert phone_key(number) == key


@pytest.mark.parametrize(
    "text",
    ["2003-09-29", "29/09/2003", "29.09.2003", "20030929", "1994", "2010-2012", "12-3456780", "123-45-6780",
     "555", "", "12.345.678/0001-95", "12345678000195", "12345678/0001-95", "01452-002", "98109-5210",
     "001-36743", "0000012345", "1.234.567", "15,115,823", "192.168.10.1", "0000000000", "10-K", "Acme",
     "1000695", "123.456.789-09"],
)  # fmt: skip
def test_other_numbers_are_no_telephone_numbers(text: str) -> None:
    assert not is_phone(text)


def test_numbers_are_alike_with_their_country_and_without() -> None:
    assert same_phone(phone_key("+1 312 555 0142"), phone_key("(312) 555-0142"))
    assert same_phone(phone_key("+44 20 7946 0000"), phone_key("020 7946 0000"))
    assert not same_phone(phone_key("555-0142"), phone_key("(312) 555-0142"))
    assert not same_phone(phone_key("(312) 555-0142"), phone_key("(312) 555-0143"))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("https://www.acme.example/", "acme.example"),
        ("ACME.example", "acme.example"),
        ("http://shop.acme.com.br:8080/x?y=1", "acme.com.br"),
        ("acme.github.io", "acme.github.io"),
        ("http://group.acme.co.uk.", "acme.co.uk"),
        ("lanternmünster.de", "lanternmünster.de"),
    ],
)
def test_a_website_is_its_registrable_domain(address: str, key: str) -> None:
    assert is_website(address)
    assert website_key(address) == key


@pytest.mark.parametrize(
    "text",
    ["https://www.linkedin.com/company/acme", "facebook.com/acme", "x.com/acme", "https://www.sec.gov/x",
     "t.me/acme", "https://pt.wikipedia.org/wiki/Acme", "info@acme.example", "mailto:info@acme.example",
     "Acme", "10-K", "acme.pdf", "Acme.example, Inc.", "192.168.10.1", "", "www.", "http://", ".example",
     "example", "2.5"],
)  # fmt: skip
def test_directories_and_other_texts_are_no_websites(text: str) -> None:
    assert not is_website(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://www.Acme.example/", "acme.example"),
        ("http://acme.example/en/", "acme.example/en"),
        ("acme.example/en?utm_source=x#top", "acme.example/en"),
        ("acme.example/en?id=1&utm_source=x", "acme.example/en?id=1"),
        ("acme.example/en?utm_source=x&id=1", "acme.example/en?id=1"),
    ],
)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert url_key(one) == url_key(other)


def test_pages_of_one_site_have_keys_of_their_own() -> None:
    assert url_key("acme.example/en") != url_key("acme.example/de")
    assert url_key("acme.example/en?id=1") != url_key("acme.example/en?id=2")


TEXTS = st.text() | st.integers() | st.text(st.sampled_from("0123456789()+-./ :@wacmeXx#?&=%²٣"))


@given(TEXTS)
def test_any_value_has_an_answer(value: str | int) -> None:
    for check in (is_email, is_phone, is_website):
        assert isinstance(check(value), bool)
    for key in (email_key, website_key, url_key):
        assert key(key(value)) == key(value)
    assert phone_key(phone_key(value)) == phone_key(value) or not is_phone(value)


@given(st.from_regex(r"\+55 ?\(?11\)? ?3[0-9]{3}[- ]?[0-9]{4}", fullmatch=True))
def test_signs_change_no_number(number: str) -> None:
    assert is_phone(number)
    assert phone_key(number) == phone_key(number.replace("-", " ").replace("(", "").replace(")", ""))
