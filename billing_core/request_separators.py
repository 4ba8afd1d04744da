"""What parts the values of a word that may be given once for each change of price, such as ``100,300``."""

SEVERAL, SEVERAL_RATES = ",", ";"
"""Between single values, and between those that are by rate and have commas of their own."""
SEPARATORS = {
    "price_change_date": SEVERAL,
    "index_at_change": SEVERAL,
    "export_before_change_kwh": SEVERAL,
    "rates_before_change": SEVERAL_RATES,
    "export_rates_before_change": SEVERAL_RATES,
}
"""By the names of the words, as :func:`billing_core.request_text.request_from_text` has them."""
