"""What may go from a workspace: what no night of late has used, and nothing that anything else needs."""
