"""Small reusable pieces that panels are made of."""
