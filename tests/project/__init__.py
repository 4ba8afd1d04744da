"""What the project promises about itself."""
