"""The store of the embedded pachd: SQLite and content-addressed chunks, commits, layers, files, branches."""
