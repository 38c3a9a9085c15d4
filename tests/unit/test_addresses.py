"""Which addresses and URLs may be dialled."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.addresses import (
    DENIED,
    NO_PUBLIC_ADDRESS,
    IPAddress,
    IPNetwork,
    Refused,
    Target,
    is_allowed,
    parse_networks,
    parse_target,
)

LOOPBACK = parse_networks(["127.0.0.0/8"])

#: Refused whatever the operator allows short of everything: each has a form that some reader takes for another host.
MALFORMED = """
https://2130706433/ https://017700000001/ https://0x7f000001/ https://0x7F.1/ https://127.1/ https://127.0.1/
https://0177.0.0.1/ https://0x7f.0x0.0x0.0x1/ https://127.0.0.01/ https://127.0.0.1.1/ https://256.1.1.1/ https://0/
https://0x/ https://1.2.3/ https://08.8.8.8/ https://8.8.8.0x8/ https://example.1/ https://１２７.1/ https://127。1/
https://[fe80::1%25eth0]/ https://[fe80::1%eth0]/ https://[2606:4700::1%251]/ https://[::1 https://::1/
https://[1.2.3.4]/ https://[]/ https://[v1.x]/ https://[[::1]]/ https://[::1]x/ https://[::1]:/
https://[2606:4700::g]/ https://user@example.com/ https://user:pass@example.com/ https://@example.com/
https://example.com@127.0.0.1/ https://example.com:443@127.0.0.1/ https://127.0.0.1%40example.com/
https://example.com%2f@127.0.0.1/ https://example.com./ https://127.0.0.1./ https://example.com。/
https://localhost./ https://example..com/ https://.example.com/ https://./ https://。/ https://-example.com/
https://example-.com/ https://exa*mple.com/ https://ex%61mple.com/ https://%31%32%37.0.0.1/ https://faß.de/
https://βόλος.com/ https://exa,mple.com/ https://example.com:0/ https://example.com:22/ https://example.com:25/
https://example.com:1023/ https://example.com:65536/ https://example.com:99999/ https://example.com:-1/
https://example.com:+443/ https://example.com:0443/ https://example.com:/ https://example.com:https/
https://example.com:80:80/ https://example.com:４４３/ https://example.com/#fragment https://example.com#@127.0.0.1/
https://example.com\\@127.0.0.1/ https:\\\\example.com/ https:/\\example.com/ https://example.com/a\\b
https:///example.com/ https:/example.com/ https:example.com https:// //example.com/ example.com ftp://example.com/
file:///etc/passwd gopher://example.com/ data:text/plain,x javascript:1 s3://bucket/key http+unix://socket/
unix:/var/run/docker.sock jar:https://example.com!/ httpſ://example.com/ httpss://example.com/
"""

WITH_INVISIBLES = [
    "",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com/a b",
    "https://exam\tple.com/",
    "https://example.com/\r\nHost: inside",
    "https://example.com\n.inside/",
    "https://example.com/\x00",
    "https://example.com\x00.inside/",
    "https://example.com/\x7f",
    "https://example.com/\x85",
    "https://exam\u200bple.com/",
    "https://exam\u00adple.com/",
    "https://example.com\u2028/",
    "https://example.com/\u202egnp.exe",
    "https://example.com/\ud800",
    "https://exam\u3000ple.com/",
    "https://" + "a" * 64 + ".com/",
    "https://" + ".".join(["a" * 60] * 5) + "/",
    "https://example.com/" + "a" * 2048,
]

#: Well-formed, and inside.
DENIED_HOSTS = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1
169.254.169.254 100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.31.196.1 192.52.193.1 192.175.48.1
127。0。0。1 １２７.０.０.１ ①27.0.0.1 localhost LOCALHOST ｌｏｃａｌｈｏｓｔ [::] [::1] [0:0:0:0:0:0:0:1]
[::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:169.254.169.254] [::ffff:8.8.8.8] [::ffff:0:127.0.0.1]
[64:ff9b::7f00:1] [64:ff9b::169.254.169.254] [64:ff9b:1::7f00:1] [64:ff9b:1:ffff::10.0.0.1] [100::1] [2001::1]
[2001:0:7f00:1::] [2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [2002:7f00:1::] [2002:a9fe:a9fe::1]
[2620:4f:8000::1] [3fff::1] [5f00::1] [fc00::1] [fd00:ec2::254] [fdff::1] [fe80::1] [febf::1] [fec0::1] [ff02::1]
[ff0e::1] [4000::1] [8000::1] [e000::1]
"""

PUBLIC_HOSTS = """
example.com EXAMPLE.com a.b.c.example.com xn--bcher-kva.de my_bucket.s3.amazonaws.com single 1.example.com 3com.com
8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.1 198.17.255.255
223.255.255.255 [2606:4700::1111] [2a00:1450:4001::1] [2001:4860:4860::8888] [2001:200::1] [2003::1] [2400:cb00::1]
"""


def test_the_corpus_of_hostile_urls_is_not_small() -> None:
    assert len(MALFORMED.split()) + len(WITH_INVISIBLES) + len(DENIED_HOSTS.split()) >= 170


@pytest.mark.parametrize("allow", [(), LOOPBACK], ids=["strict", "loopback"])
@pytest.mark.parametrize("url", MALFORMED.split() + WITH_INVISIBLES, ids=ascii)
def test_a_url_with_two_readings_is_refused(url: str, allow: tuple[IPNetwork, ...]) -> None:
    with pytest.raises(Refused) as refused:
        parse_target(url, allow)
    assert str(refused.value) != NO_PUBLIC_ADDRESS
    assert str(refused.value).startswith("the URL")


@pytest.mark.parametrize("host", DENIED_HOSTS.split(), ids=ascii)
def test_every_denied_host_is_refused_with_the_same_text(host: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_target(f"https://{host}/", ())
    assert str(refused.value) == NO_PUBLIC_ADDRESS


@pytest.mark.parametrize("host", PUBLIC_HOSTS.split())
def test_a_public_host_passes(host: str) -> None:
    assert parse_target(f"https://{host}/", ()).port == 443


@pytest.mark.parametrize("host", PUBLIC_HOSTS.split() + DENIED_HOSTS.split(), ids=ascii)
def test_http_is_refused_without_an_allow_list(host: str) -> None:
    with pytest.raises(Refused, match="https://"):
        parse_target(f"http://{host}/", ())


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/"), "example.com"),
        ("https://example.com?a=/b", Target("https", "example.com", 443, "/?a=/b"), "example.com"),
        ("HTTPS://Example.COM:443/A?b=%2F", Target("https", "example.com", 443, "/A?b=%2F"), "example.com"),
        ("https://example.com:80/", Target("https", "example.com", 80, "/"), "example.com:80"),
        ("https://example.com:65535/", Target("https", "example.com", 65535, "/"), "example.com:65535"),
        ("https://bücher.de/ä?ö=|", Target("https", "xn--bcher-kva.de", 443, "/%C3%A4?%C3%B6=%7C"), "xn--bcher-kva.de"),
        ("https://bücher。de/", Target("https", "xn--bcher-kva.de", 443, "/"), "xn--bcher-kva.de"),
        ("https://[2606:4700:0::1]:8443/", Target("https", "2606:4700::1", 8443, "/"), "[2606:4700::1]:8443"),
        ("https://example.com/a@b:c", Target("https", "example.com", 443, "/a@b:c"), "example.com"),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target, authority: str) -> None:
    assert parse_target(url, ()) == target
    assert target.authority == authority


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost:8080/x", True),
        ("https://localhost/", True),
        ("https://127.0.0.1/", True),
        ("http://127.0.0.1:22/", False),
        ("http://10.0.0.1/", False),
        ("http://8.8.8.8/", False),
        ("http://example.com/", False),
        ("http://[::1]/", False),
        ("https://[::ffff:127.0.0.1]/", False),
        ("https://[64:ff9b::7f00:1]/", False),
    ],
)
def test_the_allow_list_opens_what_it_names_and_no_other_form_of_it(url: str, allowed: bool) -> None:
    if allowed:
        parse_target(url, LOOPBACK)
    else:
        with pytest.raises(Refused):
            parse_target(url, LOOPBACK)


def test_networks_are_read() -> None:
    words = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
    assert [str(network) for network in parse_networks(words)] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize("word", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "1", ""])
def test_a_wrong_network_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=f"'{word}' is not"):
        parse_networks(["10.0.0.0/8", word])


def addresses_in(networks: tuple[IPNetwork, ...]) -> st.SearchStrategy[IPAddress]:
    return st.sampled_from(networks).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(lambda offset: network[offset])
    )


@given(address=addresses_in(DENIED), allow=st.lists(addresses_in(DENIED).map(ipaddress.ip_network), max_size=2))
def test_an_address_in_a_denied_network_is_refused_unless_listed(address: IPAddress, allow: list[IPNetwork]) -> None:
    listed = any(address in network for network in allow)
    assert is_allowed(address, allow) is listed
    assert is_allowed(address, [*allow, ipaddress.ip_network(address)])


@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_the_standard_library_calls_not_global_is_never_allowed(address: IPAddress) -> None:
    assert address.is_global or not is_allowed(address, ())


@given(inner=addresses_in(tuple(network for network in DENIED if network.version == 4)))
def test_no_embedding_of_a_denied_ipv4_address_is_allowed(inner: IPAddress) -> None:
    number = int(inner)
    for prefix in (0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80):
        assert not is_allowed(ipaddress.IPv6Address(prefix + number), ())
    assert not is_allowed(ipaddress.IPv6Address((0x2002 << 112) + (number << 80)), ())
    assert not is_allowed(ipaddress.IPv6Address((0x20010000 << 96) + (number ^ 0xFFFFFFFF)), ())


def test_an_address_with_a_zone_is_never_allowed() -> None:
    assert not is_allowed(ipaddress.IPv6Address("2606:4700::1%eth0"), parse_networks(["::/0"]))


@given(url=st.one_of(st.text(max_size=60), st.text(max_size=40).map("https://".__add__)))
def test_any_text_is_refused_or_becomes_a_plain_target(url: str) -> None:
    try:
        target = parse_target(url, ())
    except Refused:
        return
    assert (target.host + target.path).isascii()
    assert (target.host + target.path).isprintable()
    assert " " not in target.path
    assert target.scheme == "https"
