"""The documentation: pages in Markdown, and the generator of what the code already says."""
