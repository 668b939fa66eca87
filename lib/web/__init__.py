"""HTTP: the server, what it answers, and who may ask."""
