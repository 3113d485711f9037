"""What is measured of images: features, moments, distances, errors. Pure functions and small modules of tensors."""
