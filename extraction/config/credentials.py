"""Credentials in URLs, which have no business in what a run writes down."""

from urllib.parse import urlsplit, urlunsplit

SIGNED = ("http", "https")  # a query may hold a signature; elsewhere a question mark is a wildcard


def without_credentials(url: str) -> str:
    """A URL without user and password, and over HTTP without query and fragment; a path as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme in SIGNED:
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    return urlunsplit(parts._replace(netloc=host))
