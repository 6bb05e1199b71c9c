"""Doing: what the commands do, put together of what the library and the rooms below have."""
