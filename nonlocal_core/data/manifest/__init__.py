"""The manifest: files are probed once, labels numbered and splits drawn, for one Parquet row a video."""
