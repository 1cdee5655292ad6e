"""Views, metrics and the report."""
