"""The networks whose features distances compare, and how they are trained."""
