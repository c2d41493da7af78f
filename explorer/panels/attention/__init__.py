"""What the attention panel is made of."""
