"""Readers of files: one module per family of formats, each turning the bytes of one file into records.

Formats know no site, no lake and no orchestration. `registry.read_file` is the way in.
"""
