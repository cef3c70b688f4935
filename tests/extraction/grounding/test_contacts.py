"""E-mail addresses, telephone numbers and web addresses, told from what looks like them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.contacts import (
    country_of_host,
    email_key,
    is_email,
    is_phone,
    is_url,
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
        ("(11) 3333-4444", "1133334444"),
        ("Tel.: (11) 3333-4444", "1133334444"),
        ("+1 312 555 0142 ext. 5", "+13125550142"),
        ("01.42.34.56.78", "0142345678"),
        ("(312)‑555–0142", "3125550142"),
        ("٠٢ ٢٣٤٥ ٦٧٨٩", "0223456789"),
    ],
)
def test_a_telephone_number_has_one_key_however_it_is_written(number: str, key: str) -> None:
    assert is_phone(number)
    assert phone_key(number) == key


@pytest.mark.parametrize("text", ["1994", "", "12345678000195678", "+1", "+999 123", "Acme"])
def test_what_is_too_short_or_too_long_or_of_no_country_is_no_telephone_number(text: str) -> None:
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
        ("https://www.XN--mller-kva.example/a", "müller.example"),
    ],
)
def test_a_website_is_its_registrable_domain(address: str, key: str) -> None:
    assert is_url(address)
    assert website_key(address) == key


@pytest.mark.parametrize(
    "text",
    ["info@acme.example", "Acme", "10-K", "acme.pdf", "Acme.example, Inc.", "192.168.10.1", "", "www.", "http://",
     ".example", "example", "2.5"],
)  # fmt: skip
def test_other_texts_are_no_web_addresses(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize("site", ["yelp.com", "github.com", "linkedin.com", "medium.com", "x.com"])
def test_any_site_may_be_a_company_s_own(site: str) -> None:
    assert is_url(site)


@pytest.mark.parametrize(
    ("address", "country"),
    [("https://www.acme.com.br/x", "BR"), ("info@acme.co.uk", "GB"), ("acme.com", None), ("no address", None)],
)
def test_a_host_tells_its_country(address: str, country: str | None) -> None:
    assert country_of_host(address) == country


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
    for check in (is_email, is_phone, is_url):
        assert isinstance(check(value), bool)
    for key in (email_key, website_key, url_key):
        assert key(key(value)) == key(value)


@given(st.from_regex(r"\+55 ?\(?11\)? ?3[0-9]{3}[- ]?[0-9]{4}", fullmatch=True))
def test_signs_change_no_number(number: str) -> None:
    assert is_phone(number)
    assert phone_key(number) == phone_key(number.replace("-", " ").replace("(", "").replace(")", ""))
