"""From a video file to a batch: every hop is one function in one file."""
