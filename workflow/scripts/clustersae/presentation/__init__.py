"""How tables are read and written, and what figures and sentences have in common. No torch."""
