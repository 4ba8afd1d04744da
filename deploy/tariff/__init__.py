"""``congto tariff``: what is in force when, whether tariff files are right, and what another tariff would change."""
