"""What the embedding panel is made of."""
