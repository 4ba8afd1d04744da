"""``congto model``: meter models listed, shown, tried and begun."""
