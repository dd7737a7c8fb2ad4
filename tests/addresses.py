"""Addresses that callbacks may and may not reach, as URLs and as name servers have them."""

import socket
from ipaddress import ip_address
from typing import Any

# However they are spelled; also those that IANA's registries call global, since nobody receives there.
_BLOCKED = """
    127.0.0.1 127.1 2130706433 0x7f000001 017700000001 0177.0.0.1 127.0.0.1. 0 0.0.0.0 10.0.0.1 172.16.0.1
    172.31.255.255 192.168.0.1 100.64.0.1 169.254.169.254 169.254.170.2 169.254.170.23 169.254.100.1 192.0.0.8
    192.0.0.9 192.0.0.10 192.0.0.170 192.0.2.1 192.88.99.1 192.175.48.1 192.31.196.1 192.52.193.1 198.18.0.1
    198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 ::1 :: ::ffff:127.0.0.1
    ::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::127.0.0.1 ::169.254.169.254 64:ff9b::a9fe:a9fe
    64:ff9b:1::a9fe:a9fe 100::1 2001::1 2001:0:a9fe:a9fe:: 2001:2::1 2001:20::1 2001:db8::1 2002:a9fe:a9fe::
    2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd00:ec2::23 fe80::1 fe80::1%eth0 fec0::1 ff02::1
    ff0e::1 0.255.255.255 10.255.255.255 100.127.255.255 198.19.255.255 1fff:ffff:: 2001:1ff:ffff::
    2620:4f:8000:ffff:: 3fff:fff:ffff:: 4000::
"""
_PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255
    192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
    203.0.112.255 203.0.114.0 223.255.255.255 2000:: 2001:200:: 2001:4860:4860::8888 2001:db7:ffff::
    2001:db9:: 2001:ffff:: 2003:: 2606:4700:4700::1111 2620:4f:7fff:: 2620:4f:8001:: 2a05:d07c:2000::1
    3ffe:ffff:: 3fff:1000::
"""  # among them the neighbours of what is blocked


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def url_of(host: str) -> str:
    return f"https://[{host}]/" if ":" in host else f"https://{host}/"


def answers(*addresses: str) -> list[tuple[Any, ...]]:
    """As socket.getaddrinfo has them."""
    families = {4: socket.AF_INET, 6: socket.AF_INET6}
    return [
        (families[ip_address(address).version], socket.SOCK_STREAM, 6, "", (address, 443))
        for address in addresses
    ]


BLOCKED, PUBLIC = _BLOCKED.split(), _PUBLIC.split()
BLOCKED_ADDRESSES = [host for host in BLOCKED if is_address(host)]
