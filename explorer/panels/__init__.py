"""The five panels. Each shows the state and writes the state; none knows another, nor the model."""
