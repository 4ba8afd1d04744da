"""What the configuration says of commands and metrics: ``[commands]`` and ``[metrics]``."""

from dataclasses import dataclass
from pathlib import Path

from protocols.strict_toml import Table
from protocols.telemetry.command import Kind

READS = frozenset({Kind.READ, Kind.PROFILE, Kind.STATUS})
# A relay is armed and confirmed under one right: to arm alone is of no use.
RIGHTS = {
    "read": frozenset({Kind.READ}),
    "profile": frozenset({Kind.PROFILE}),
    "status": frozenset({Kind.STATUS}),
    "clock": frozenset({Kind.CLOCK}),
    "relay": frozenset({Kind.ARM, Kind.CONFIRM}),
    "resend": frozenset({Kind.RESEND}),
    "configure": frozenset({Kind.CONFIGURE}),
}
SOCKET_OCTETS_MAX = 107  # sun_path in Linux' <sys/un.h>, less the closing zero


@dataclass(frozen=True, slots=True)
class CommandsConfig:
    """Which commands a gateway accepts; without a word in its configuration only those that read."""

    allowed: frozenset[Kind] = READS


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Where the agent's figures can be read, if anywhere: a Unix socket."""

    socket: Path | None = None


def parse_commands(table: Table) -> CommandsConfig:
    """Return what ``[commands]`` says; raise :class:`UsageError`."""
    if "allow" not in table:
        table.finish()
        return CommandsConfig()
    words = table.take("allow", list)
    for word in words:
        if type(word) is not str or word not in RIGHTS:
            raise table.error("allow", f"found {word!r}; expected some of {', '.join(RIGHTS)}")
    table.finish()
    return CommandsConfig(frozenset().union(*(RIGHTS[word] for word in words)))


def parse_metrics(table: Table, directory: Path) -> MetricsConfig:
    """Return what ``[metrics]`` says; raise :class:`UsageError`."""
    name = table.take("socket", str, default=None)
    table.finish()
    if name is None:
        return MetricsConfig()
    path = directory / name
    if len(str(path).encode()) > SOCKET_OCTETS_MAX:
        raise table.error("socket", f"{path} is longer than {SOCKET_OCTETS_MAX} octets; choose a shorter path")
    return MetricsConfig(path)
