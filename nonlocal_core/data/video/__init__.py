"""The inside of video files: what their containers say, and their frames."""
