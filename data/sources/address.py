"""Addresses on the network: what of them may be shown, and the user that they name."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

# RFC 3986: the authority ends at the first of / ? #, the user part in it at the last @.
_USER = re.compile(r"(?<=://)[^/?#]*@")
_UNQUOTED_USER = re.compile(r"(?<=://)[^/?#:@]*:(?!\d*(?:[/?#]|$))[^/?#@]*[/?#].*@")
# How cameras are told the user otherwise: ?user=…&pwd=…, /user=…_password=…_channel=1
_PARAMETER = re.compile(
    r"(?<![a-z])((?:user(?:name)?|usr|login|pass(?:word|wd)?|pwd|token|auth|(?:api_?)?key|secret|sig(?:nature)?)=)[^&;_/#\s]*",
    re.IGNORECASE,
)


class Login(NamedTuple):
    """An http address without its user part, and what that says, decoded; both empty where there is none."""

    url: str
    user: str
    password: str


def masked(address: str) -> str:
    """An address as it may be shown and used in file names: without user, password and keys."""
    if "://" not in address:
        return address
    return _PARAMETER.sub(r"\1***", _UNQUOTED_USER.sub("***@", _USER.sub("***@", address)))


def check_address(address: str) -> None:
    """Refuse what no URL can be.

    Raises:
        ValueError: If the user part holds a character that ends it, or the host is none.
    """
    if _UNQUOTED_USER.search(address):
        raise ValueError(
            f"--source {masked(address)}: in an address / ? and # of a user name or password are written %2F, %3F, %23"
        )
    try:
        _ = urlsplit(address).port
    except ValueError:  # whose message may hold the user part
        raise ValueError(f"--source {masked(address)}: expected scheme://user:password@host:port/…") from None


def split_login(url: str) -> Login:
    """Take the user part out of an address."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return Login(urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password))
