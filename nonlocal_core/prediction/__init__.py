"""Labels for new videos."""
