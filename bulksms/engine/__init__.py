"""The engine: the run itself. It acts; what it does with an answer is decided in `delivery`."""
