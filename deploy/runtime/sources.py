"""What apt is to be asked for: sources, packages and the text they are written in. Pure.

The host's own apt configuration names the mirror; no mirror is written down here. Debian 13's packages are taken
from that mirror whatever Debian the host is, and apt checks them against Debian's archive keys as it always does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SUITE = "trixie"  # Debian 13, the first with PostgreSQL 17 and Mosquitto >= 2.0.13 (2.0.21)
HOST_SUITES = frozenset({"bookworm", "trixie", "stable", "oldstable"})  # Debian 12 and 13, by either name
DATABASE_PACKAGES = ("postgresql-17", "postgresql-17-timescaledb")
BROKER_PACKAGES = ("mosquitto",)
PROGRAMS = frozenset({*DATABASE_PACKAGES, *BROKER_PACKAGES, "postgresql-client-17"})

# What Debian's closure adds and the servers never load, two thirds of the octets: the compiler behind `jit`, which
# is off, and what serves the packages' installation scripts, which are not run.
UNUSED = re.compile(r"libllvm|libz3|libperl|lib.*-perl$|libc-|libpam-modules|libsemanage|libsepol|libdebconf|libproc2")


@dataclass(frozen=True, slots=True)
class Source:
    """One apt source: a row of ``sources.list`` or a stanza of a ``.sources`` file."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where Debian's archive and its security archive (or "") are, and the key files the host names for them."""

    archive: str
    security: str = ""
    signed_by: tuple[str, ...] = ()


def parse_source_list(text: str) -> list[Source]:
    """Return the binary sources in a one-line-style list (sources.list(5)); rows of another form are not ours."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed_by = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
            sources.append(Source((uri,), (suite,), tuple(components.split()), signed_by.group(1) if signed_by else ""))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Return the enabled binary sources in a deb822-style file (sources.list(5))."""
    sources = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in {" ", "\t"}:
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        wanted = "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no"
        if wanted and fields.get("uris"):
            signed_by = fields.get("signed-by", "")
            sources.append(
                Source(
                    tuple(fields["uris"].split()),
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    signed_by if signed_by.startswith("/") else "",  # an inline key is no file
                )
            )
    return sources


def mirrors(sources: Iterable[Source]) -> list[Mirror]:
    """Return the mirrors that may hold Debian's archive, the likeliest first.

    A vendor's repository can call its suite ``bookworm`` too. It comes later, and apt would refuse its signature.
    """
    security = ""
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    for source in sources:
        if "main" not in source.components:
            continue
        keys = (source.signed_by,) if source.signed_by else ()
        for uri in source.uris:
            for suite in source.suites:
                if suite.split("/")[0].removesuffix("-security") in HOST_SUITES and suite.endswith("-security"):
                    security = security or uri
                elif suite in HOST_SUITES:
                    plain = uri.rstrip("/").endswith("/debian")
                    debian = not keys or "debian-archive" in keys[0]
                    found.setdefault(uri, (2 * (not debian) + (not plain), keys))
    ranked = sorted(found.items(), key=lambda item: item[1][0])
    return [Mirror(uri, security, keys) for uri, (_, keys) in ranked]


def render_source_list(mirror: Mirror, keyrings: Sequence[str]) -> str:
    """Return the ``sources.list`` for Debian 13's packages from ``mirror``, signed by one of ``keyrings``."""
    option = f"[signed-by={','.join(keyrings)}]"
    rows = [f"deb {option} {mirror.archive} {SUITE} main"]
    if mirror.security:
        rows.append(f"deb {option} {mirror.security} {SUITE}-security main")
    return "\n".join(rows) + "\n"


def render_apt_configuration(directories: Mapping[str, str]) -> str:
    """Return an apt configuration that keeps apt inside ``directories``: sources, lists, cache and status.

    What the host says on fetching (proxies, certificates) stays in force; its sources, pins and hooks do not.
    """
    return "\n".join(
        [
            f'Dir::Etc::sourcelist "{directories["sources"]}";',
            'Dir::Etc::sourceparts "/dev/null";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            f'Dir::State::lists "{directories["lists"]}";',
            f'Dir::State::status "{directories["status"]}";',
            f'Dir::State::extended_states "{directories["cache"]}/extended_states";',
            f'Dir::Cache "{directories["cache"]}";',
            'APT::Default-Release "";',
            'APT::Install-Recommends "false";',
            'APT::Install-Suggests "false";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'APT::Sandbox::User "";',  # apt's own unprivileged user could not write here
            "#clear APT::Update::Pre-Invoke;",
            "#clear APT::Update::Post-Invoke;",
            "#clear APT::Update::Post-Invoke-Success;",
            "",
        ]
    )


def choose_packages(print_uris: str) -> list[str]:
    """Return ``name=version`` of what the servers need, from the output of ``apt-get install --print-uris``.

    A row there is ``'uri' name_version_architecture.deb size hash``; the version's colon is written ``%3a``.
    """
    chosen = []
    for row in print_uris.splitlines():
        match = re.match(r"'[^']+' ([a-z0-9][a-z0-9+.-]*)_([^_ ]+)_[a-z0-9]+\.deb ", row)
        if match is None:
            continue
        name, version = match.groups()
        needed = name in PROGRAMS or name == "zlib1g" or (name.startswith("lib") and not UNUSED.match(name))
        if needed:
            chosen.append(f"{name}={version.replace('%3a', ':')}")
    return sorted(chosen)


def render_wrapper(loader: str, libraries: Sequence[str], program: str) -> str:
    """Return a shell script that runs ``program`` with the unpacked loader and libraries, under the script's name.

    The arguments are paths below the root of the unpacked tree, which the script finds from its own path, so a tree
    may be moved. The name matters: PostgreSQL's programs find one another, and their shared files, from ``argv[0]``.
    """
    path = ":".join(f"$root/{library}" for library in libraries)
    return f"""#!/bin/sh
root=${{0%/usr/*}}
exec "$root/{loader}" --library-path "{path}" --argv0 "$0" "$root/{program}" "$@"
"""
