"""The manifest: files looked at once, labels numbered, splits drawn, one parquet row a video."""
