"""What lives on a node: server processes, the client that asks them, the extractor that Ray Data calls."""
