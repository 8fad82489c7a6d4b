"""Text that a language model reads: built-in or imported, tokenised and split."""
