"""Published weights by name: where they are, what they are, and the folder of those that were fetched.

    table.py      every weights file that is known, as typed records
    store.py      the folder of checkpoints, and what `train.init=NAME` and `checkpoint=NAME` find in it
    download.py   a file over HTTPS: resumed, checked
    package.py    a file out of a Python package, by pip
    retrieval.py  from a source to a checkpoint

docs/guides/weights.md explains it to a person.
"""
