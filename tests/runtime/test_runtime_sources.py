"""What apt is asked for, from what the host's own configuration says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.runtime import sources
from deploy.runtime.sources import Mirror, Source

# sources.list(5), and what debootstrap and Debian's container images write.
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://vendor.example/apt
Suites: bookworm
Components: main
Enabled: no
"""
ONE_LINE = """\
deb http://mirror.example/debian bookworm main non-free-firmware  # the archive
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/keys/vendor.gpg] https://vendor.example/apt bookworm main
#deb http://old.example/debian bullseye main
deb http://security.example/debian-security bookworm-security main
"""


def test_a_deb822_file_gives_its_enabled_binary_sources() -> None:
    found = sources.parse_deb822(DEB822)
    assert found == [
        Source(
            ("http://mirror.example/debian",),
            ("bookworm", "bookworm-updates"),
            ("main", "contrib"),
            "/usr/share/keyrings/debian-archive-keyring.gpg",
        ),
        Source(
            ("http://mirror.example/debian-security",),
            ("bookworm-security",),
            ("main",),
            "/usr/share/keyrings/debian-archive-keyring.gpg",
        ),
    ]


def test_a_folded_field_and_a_key_inside_the_file_are_read() -> None:
    text = "Types: deb\nURIs: http://a.example/debian\n  http://b.example/debian\nSuites: trixie\nComponents: main\n"
    text += "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY865UxYJ\n"
    [source] = sources.parse_deb822(text)
    assert source.uris == ("http://a.example/debian", "http://b.example/debian")
    assert source.signed_by == ""


def test_a_one_line_list_gives_its_binary_sources() -> None:
    assert [source.uris[0] for source in sources.parse_source_list(ONE_LINE)] == [
        "http://mirror.example/debian",
        "https://vendor.example/apt",
        "http://security.example/debian-security",
    ]
    assert sources.parse_source_list(ONE_LINE)[1].signed_by == "/etc/keys/vendor.gpg"


def test_debians_own_mirror_comes_before_a_vendors_that_uses_the_same_suite() -> None:
    found = sources.mirrors(reversed(sources.parse_source_list(ONE_LINE)))
    assert [mirror.archive for mirror in found] == ["http://mirror.example/debian", "https://vendor.example/apt"]
    assert {mirror.security for mirror in found} == {"http://security.example/debian-security"}


@pytest.mark.parametrize("suite", ["bullseye", "noble", "bookworm-backports", "nodistro", "bookworm-pgdg"])
def test_a_source_of_another_system_or_suite_is_no_mirror(suite: str) -> None:
    assert sources.mirrors([Source(("http://mirror.example/debian",), (suite,), ("main",))]) == []


def test_a_source_without_main_is_no_mirror() -> None:
    source = sources.parse_deb822(DEB822)[0]
    assert sources.mirrors([replace(source, components=("stable",))]) == []


def test_packages_of_debian_13_are_asked_for_whatever_the_host_is() -> None:
    mirror = Mirror("http://mirror.example/debian", "http://mirror.example/debian-security")
    assert sources.render_source_list(mirror, ["/k/a.gpg", "/k/b.gpg"]).splitlines() == [
        "deb [signed-by=/k/a.gpg,/k/b.gpg] http://mirror.example/debian trixie main",
        "deb [signed-by=/k/a.gpg,/k/b.gpg] http://mirror.example/debian-security trixie-security main",
    ]
    assert "security" not in sources.render_source_list(replace(mirror, security=""), ["/k/a.gpg"])


# Rows as apt-get 2.6 and 3.0 print them, shortened.
PRINTED = """\
'http://mirror.example/pool/libc6_2.41-12_amd64.deb' libc6_2.41-12_amd64.deb 2850108 SHA256:0a
'http://mirror.example/pool/zlib1g_1.3_amd64.deb' zlib1g_1%3a1.3+really1.3.1-1_amd64.deb 88720 MD5Sum:1
'http://mirror.example/pool/libllvm19_19.1.7_amd64.deb' libllvm19_1%3a19.1.7-3_amd64.deb 25978316 MD5Sum:2
'http://mirror.example/pool/libperl5.40_5.40_amd64.deb' libperl5.40_5.40.1-6_amd64.deb 4325996 MD5Sum:3
'http://mirror.example/pool/perl-base_5.40_amd64.deb' perl-base_5.40.1-6_amd64.deb 1666320 MD5Sum:4
'http://mirror.example/pool/postgresql-17_17.12_amd64.deb' postgresql-17_17.12-0+deb13u1_amd64.deb 16760112 MD5Sum:5
"""


def test_programs_and_libraries_are_chosen_and_what_only_installation_needs_is_not() -> None:
    assert sources.choose_packages(PRINTED) == [
        "libc6=2.41-12",
        "postgresql-17=17.12-0+deb13u1",
        "zlib1g=1:1.3+really1.3.1-1",
    ]


@given(st.text())
def test_no_text_in_apts_configuration_is_too_odd_to_read(text: str) -> None:
    for source in [*sources.parse_source_list(text), *sources.parse_deb822(text)]:
        assert source.uris
    assert sources.choose_packages(text) == []
