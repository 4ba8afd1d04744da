"""The demo: a village from its meters to its bills, through real lines, a real broker and a real database."""
