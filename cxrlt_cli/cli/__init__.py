"""Typer and Rich live here and nowhere else: options in, engine called, exit code out."""
