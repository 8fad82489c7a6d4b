"""What is asked: the configuration, and the arms and SAEs that follow. No torch, no pandas."""
