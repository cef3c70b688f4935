"""Holds what runs on a node: the server process, its client, and the extractor that Ray Data calls."""
