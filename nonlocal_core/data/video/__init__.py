"""Inside a video file: what its container says, and its frames."""
