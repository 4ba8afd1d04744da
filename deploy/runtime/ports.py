"""Free ports for servers.

Not from the kernel's range for outgoing connections: a client that keeps trying to reach a killed broker can be given
the broker's own port as its source, connect to itself, and keep the port from the broker for ever. And a port in
that range may be somebody's for a moment just when a server wants it back.
"""

import random
import socket
from pathlib import Path

from deploy.runtime.settings import LISTEN_ON
from protocols.errors import UnavailableError

LOWEST = 20_000
LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOCAL_RANGE_DEFAULT = 32_768  # ip(7)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LISTEN_ON, port))
        except OSError:
            return False
    return True


def candidates(seed: random.Random, outgoing_from: int) -> list[int]:
    """Return ports to try, in an order that differs between callers, below the range of outgoing connections."""
    lowest = LOWEST if outgoing_from > LOWEST + 1000 else 1024
    highest = outgoing_from if outgoing_from > lowest + 1000 else 65_536  # 1000: enough to choose from
    return seed.sample(range(lowest, highest), 200)


def free_port() -> int:
    """Return a port that is free now."""
    try:
        outgoing_from = int(LOCAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        outgoing_from = LOCAL_RANGE_DEFAULT
    for port in candidates(random.SystemRandom(), outgoing_from):
        if is_free(port):
            return port
    raise UnavailableError(f"200 ports tried on {LISTEN_ON}, none free; something on this machine takes them all")
