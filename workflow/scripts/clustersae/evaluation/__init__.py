"""What an SAE costs and what it keeps: reconstruction, splicing, cost."""
