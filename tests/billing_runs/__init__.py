"""Billing runs against a real database."""
