"""Workspaces of earlier versions, with the videos that they were made of, and what makes one of this version."""
