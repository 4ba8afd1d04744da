"""What systemd is told: that we are ready, that we get on, that we stop (sd_notify(3)). Without systemd, nothing."""

import contextlib
import os
import socket

VARIABLE = "NOTIFY_SOCKET"


def tell(state: str) -> None:
    """Send ``state``, such as ``READY=1``, to whoever started us and wants to know."""
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        with contextlib.suppress(OSError):  # it looks at us by other means as well
            out.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
