"""Arithmetic from registers to bill lines. No I/O, no clock; integers throughout."""
