"""What caching and training cost, measured and predicted."""
