"""Which addresses image URLs and webhooks may reach, and which URLs name one.

The web process asks early, to tell the caller; the dialer asks again for every address that it dials, and only that
answer counts. The networks are listed because `ipaddress.is_global` calls the NAT64, 6to4 and IPv4-compatible forms of
127.0.0.1 global. Anything with two readings (octal numbers, user names, backslashes) is refused, not interpreted.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from app.domain.images import MAX_URL_LENGTH

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"https": 443, "http": 80}
FIRST_UNPRIVILEGED_PORT = 1024

#: The one text for an address that is denied and for a name without address: a caller must not learn what is inside.
NO_PUBLIC_ADDRESS = "the URL's host has no public address"

#: RFC 6890 and its registries; the comment says what a network is.
DENIED: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata here
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent: looks public, is not
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # TEST-NET-1
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # TEST-NET-2
        "203.0.113.0/24",  # TEST-NET-3
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/3",  # unspecified, loopback, IPv4-mapped, -compatible and -translated, NAT64 (both), discard-only
        "2001::/23",  # Teredo, benchmarking, ORCHID, AMT
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
        "4000::/2",  # not handed out; SRv6 segments are 5f00::/16
        "8000::/1",  # not handed out; unique local, link-local, site-local, multicast
    )
)

_LOOPBACK: tuple[IPAddress, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))

#: Linux takes the unspecified address for itself, and so do some servers with its whole network.
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")

# ASCII matters: without it, IGNORECASE takes the long s (U+017F) for an s.
_URL = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([1-9][0-9]{0,4}))?", re.ASCII)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
#: What the C library may read as a number is an IPv4 address or nothing: 2130706433, 0x7f.1, 0177.0.0.1.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
#: Everything else in a path is sent escaped, as browsers do; what is escaped already stays as it is.
_UNESCAPED = "!$%&'()*+,/:;=?@[]"
#: Letters that the two IDNA standards map to different hosts.
_AMBIGUOUS_LETTERS = frozenset("ßẞς")


class Refused(Exception):
    """The URL may not be dialled; the text is a clause for the caller and says nothing about the network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL, in parts: `host` is an ASCII name or a bare address, `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_networks(words: Sequence[str]) -> tuple[IPNetwork, ...]:
    """Read addresses and networks; raise ValueError that names the first wrong word."""
    networks = []
    for word in words:
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(f"{word!r} is not an address or a network such as 10.0.0.0/8") from None
    return tuple(networks)


def is_allowed(address: IPAddress, allow: Sequence[IPNetwork]) -> bool:
    """Tell whether an address may be dialled: it is public, or the operator listed it."""
    if getattr(address, "scope_id", None) is not None:
        return False
    return _is_listed(address, allow) or not any(address in network for network in DENIED)


def fixed_addresses(host: str, allow: Sequence[IPNetwork]) -> tuple[IPAddress, ...]:
    """List the addresses that are known without a resolver; empty for all names but localhost (RFC 6761)."""
    if host == "localhost":
        # Only the listed ones: an operator who allows 127.0.0.1 does not mean to lose localhost to ::1.
        return tuple(address for address in _LOOPBACK if _is_listed(address, allow)) or _LOOPBACK
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        return ()


def is_same_host(one: IPAddress, other: IPAddress) -> bool:
    """Tell whether two addresses lead to one machine: they are equal, or both mean this one."""
    one, other = (getattr(address, "ipv4_mapped", None) or address for address in (one, other))
    return one == other or (_is_this_machine(one) and _is_this_machine(other))


def _is_this_machine(address: IPAddress) -> bool:
    return address.is_loopback or address.is_unspecified or address in _THIS_NETWORK


def parse_target(url: str, allow: Sequence[IPNetwork]) -> Target:
    """Take a URL apart and check all that can be checked without a resolver; raise Refused."""
    _check_characters(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise Refused("the URL must begin with https://")
    scheme, authority, path, query = match[1].lower(), match[2], match[3] or "/", match[4] or ""
    host, port = _read_authority(authority, DEFAULT_PORTS[scheme])
    addresses = fixed_addresses(host, allow)
    if scheme == "http" and not (addresses and all(_is_listed(address, allow) for address in addresses)):
        raise Refused("the URL must begin with https://")
    if not all(is_allowed(address, allow) for address in addresses):
        raise Refused(NO_PUBLIC_ADDRESS)
    return Target(scheme, host, port, quote(path + query, safe=_UNESCAPED))


def _is_listed(address: IPAddress, allow: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in allow)


def _check_characters(url: str) -> None:
    if len(url) > MAX_URL_LENGTH:
        raise Refused(f"the URL must be at most {MAX_URL_LENGTH} characters long")
    if any(unicodedata.category(character)[0] in "CZ" for character in url):
        raise Refused("the URL must not contain spaces, control characters or invisible characters")
    if "\\" in url:
        raise Refused("the URL must not contain a backslash")
    if "#" in url:
        raise Refused("the URL must not have a fragment")


def _read_authority(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise Refused("the URL must not carry a user name or password")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise Refused("the URL's host or port is malformed")
    port = int(match[2] or default_port)
    if port not in DEFAULT_PORTS.values() and not FIRST_UNPRIVILEGED_PORT <= port <= 65535:
        raise Refused("the URL's port must be 443, 80 or 1024 to 65535")
    return (_read_ipv6(match[1][1:-1]) if match[1].startswith("[") else _read_name(match[1])), port


def _read_ipv6(text: str) -> str:
    if "%" in text:
        raise Refused("the URL's host must not have a zone")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise Refused("the URL's host is not an IPv6 address") from None


def _read_name(text: str) -> str:
    """Give the name that is looked up, or the address that is written without brackets."""
    if not text:
        raise Refused("the URL has no host")
    if not _AMBIGUOUS_LETTERS.isdisjoint(text):
        raise Refused("the URL's host must be written in its xn-- form")
    try:
        name = text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise Refused("the URL's host is not a valid name") from None
    if name.endswith("."):
        raise Refused("the URL's host must not end in a dot")
    if _ENDS_IN_NUMBER.fullmatch(name):
        return _read_ipv4(name)
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise Refused("the URL's host is not a valid name")
    return name


def _read_ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise Refused("the URL's host must be a name or an address of four decimal numbers") from None
