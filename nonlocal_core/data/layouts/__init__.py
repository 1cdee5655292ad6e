"""How datasets lie on disk or in object storage: from a folder to one source a video, by names alone."""
