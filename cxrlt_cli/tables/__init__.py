"""CSV and Parquet: read as text, judged column by column, written whole."""
