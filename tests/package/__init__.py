"""The Debian package and the unit."""
