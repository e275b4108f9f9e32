"""Who may deliver, by address: off unless the settings name somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection

__all__ = ["Senders", "address_fault", "client_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Senders:
    """The networks that may deliver, all where there is none, and the proxies that are believed."""

    allowed: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()

    @classmethod
    def of(cls, allowed: Sequence[str], proxies: Sequence[str]) -> Senders:
        """Those that addresses and networks (CIDR) name. Raises `ValueError`."""
        return cls(tuple(map(ip_network, allowed)), tuple(map(ip_network, proxies)))

    def admit(self, request: HTTPConnection) -> bool:
        """Whether the request comes from one of them. No address is none of them."""
        if not self.allowed:
            return True
        peer = request.client.host if request.client else ""
        client = client_of(peer, request.headers.getlist("x-forwarded-for"), self.proxies)
        return client is not None and _is_in(client, self.allowed)


def client_of(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """Whose request it is: the last address that no proxy of ours has; None if that is none.

    Each proxy adds who it was called by at the end of `X-Forwarded-For`. So what stands before the
    first address that is not a proxy's was written by a stranger, and is not read.
    """
    hops = [peer, *reversed(",".join(forwarded).split(","))] if forwarded else [peer]
    client = None
    for hop in hops:
        client = _address(hop)
        if client is None or not _is_in(client, proxies):
            return client
    return client


def address_fault(variable: str, texts: Sequence[str]) -> str | None:
    """What is wrong with these addresses and networks, or None."""
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            return f"{variable}: {text!r} is no address and no network such as 203.0.113.0/24"
    return None


def _address(text: str) -> Address | None:
    """The address, without the port that some proxies write behind it."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
