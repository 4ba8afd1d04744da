"""The Debian package of a gateway's agent: what it holds and how it is built."""
