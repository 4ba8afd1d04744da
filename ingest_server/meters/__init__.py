"""What meters are, beside their readings: plates, meanings of log entries, check meters, transformers."""
