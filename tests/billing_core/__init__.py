"""The billing core: rules, tariffs, quotes."""
