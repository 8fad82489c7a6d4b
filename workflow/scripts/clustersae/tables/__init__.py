"""From evaluation files to the tables that answer the question."""
