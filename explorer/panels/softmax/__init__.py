"""What the softmax panel is made of."""
