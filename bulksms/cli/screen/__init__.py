"""The screen: what a person is shown and asked, and what machines read."""
