"""Objectives: pure functions of tensors, one equation each. All in float32, or float64 where the tensors are."""
