"""What caching and training cost: priced beforehand, measured, and predicted by A + K T."""
