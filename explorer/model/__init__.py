"""A loaded checkpoint and what is read from it. Useful without a window."""
