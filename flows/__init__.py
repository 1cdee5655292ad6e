"""The order of the stages, as Prefect flows that a command line, the UI and a schedule start alike."""
