"""What a run leaves behind: progress, checkpoints, rows, TensorBoard's files."""
