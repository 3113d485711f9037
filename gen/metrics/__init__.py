"""What is computed from images and their features: moments, distances, errors. Pure functions and small sums."""
