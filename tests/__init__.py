"""The tests; a file is run alone by its path, such as pytest tests/test_docs.py."""
