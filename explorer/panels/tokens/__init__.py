"""What the token panel is made of."""
