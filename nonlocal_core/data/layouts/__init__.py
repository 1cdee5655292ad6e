"""Layouts of datasets on disk or in object storage: from a folder to one `Source` a video, by names alone."""
