"""Validation of readings: rules over arrays of many meters, judged together, with their evidence in numbers."""
