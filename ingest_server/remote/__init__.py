"""Asking gateways: commands recorded, published, answered."""
