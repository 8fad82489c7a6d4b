"""The answer, from the tables of all questions."""
