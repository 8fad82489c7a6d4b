"""SAEs as other tools store them."""
