"""From stored registers to bills: gather columns in one snapshot, let billing_core decide, write what it says."""
