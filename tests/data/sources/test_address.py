"""Addresses: the user part ends where RFC 3986 says, and is never shown."""

import pytest

from data.sources.address import check_address, masked, split_login
from data.sources.open_source import open_source


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:secret@host:554/x?a=b", "rtsp://***@host:554/x?a=b"),
        ("rtsp://admin:a@b!@host/x", "rtsp://***@host/x"),  # the last @ of the authority ends the user part
        ("rtsp://host:554/x@y", "rtsp://host:554/x@y"),  # an @ after the authority ends none
        ("http://host?mail=a@b", "http://host?mail=a@b"),
        ("http://secret@host/x", "http://***@host/x"),
        ("http://u:secret@[::1]:80/", "http://***@[::1]:80/"),
        ("http://u:sec/ret@host/x", "http://***@host/x"),  # no URL, and still not to be shown
        ("rtsp://h/user=me_password=secret_channel=1.sdp", "rtsp://h/user=***_password=***_channel=1.sdp"),
        ("http://h/cgi?usr=me&pwd=secret&fps=5", "http://h/cgi?usr=***&pwd=***&fps=5"),
        ("clips/key=3/a.mp4", "clips/key=3/a.mp4"),
    ],
)
def test_who_asks_is_not_shown(address, shown):
    assert masked(address) == shown


def test_user_and_password_are_decoded():
    assert split_login("http://us%20er:p@ss%2F!@cam:80/x?y=1") == ("http://cam:80/x?y=1", "us er", "p@ss/!")
    assert split_login("http://cam/x") == ("http://cam/x", "", "")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://u:sec/ret@host/x", "are written %2F, %3F, %23"),
        ("rtsp://u:sec#ret@host/x", "are written %2F, %3F, %23"),
        ("http://u:secret@[::1/x", "expected scheme://user:password@host:port"),
        ("ftp://u:secret@host/x", "expected one of http://"),
    ],
)
def test_what_is_no_address_is_refused_without_the_password(address, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_source(address)
    assert "sec" not in str(caught.value)


def test_addresses_of_cameras_pass():
    for address in ("0", "rtsp://u:123@h:554/x", "udp://@239.0.0.1:1234", "http://h", "clip.mp4"):
        check_address(address)
