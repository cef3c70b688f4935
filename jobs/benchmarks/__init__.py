"""Measurements of what this project claims, one module a benchmark."""
