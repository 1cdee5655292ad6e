"""What runs beside a Prefect server: the server itself, alerts, and a watch over runs without a sign of life."""
