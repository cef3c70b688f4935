"""The pure part: what a profile is, how documents become chunks, how replies become profiles."""
