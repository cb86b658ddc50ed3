"""From a CSV and a folder of films to batches."""
