"""Numbers, times and ids as a person reads them."""

MAGNITUDES = ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k"))


def short(number: float) -> str:
    """A number in three digits: 847, 9,412, 151 k, 1.51 M."""
    for size, sign in MAGNITUDES:
        if number >= size:
            shown = number / (1_000 if sign == "k" else size)
            return f"{shown:.0f} {sign}" if shown >= 100 else f"{shown:.3g} {sign}"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"


def percent(share: float) -> str:
    """A share in percent; one decimal where it is small or nearly all."""
    shown = 100 * share
    if share in (0, 1) or 10 <= shown <= 99:
        return f"{shown:.0f} %"
    if not 0.05 <= shown <= 99.95:
        return "< 0.1 %" if shown < 1 else "> 99.9 %"
    return f"{shown:.1f}".removesuffix(".0") + " %"


def seconds(number: float) -> str:
    """A length of time in the unit that fits it: 420 ms, 3.2 s, 4:12."""
    if number < 1:
        return f"{1000 * number:.0f} ms"
    return f"{number:.1f} s" if number < 60 else clock(number)


def plural(number: int, noun: str) -> str:
    """A number of things: 1 server, 2,000 servers."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def visible_text(text: str) -> str:
    """An id or a message as it can be read: what has no shape of its own is written as its code."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3:05, 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
