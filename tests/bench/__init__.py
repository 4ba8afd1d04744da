"""Measurements that ``make bench`` collects."""
