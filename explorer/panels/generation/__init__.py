"""What the generation panel is made of."""
