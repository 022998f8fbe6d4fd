"""The record of a run: what each step found, kept where every later step and a person can read it."""

from chandlery.runs.journal import Note, note, read_notes, run_folder

__all__ = ["Note", "note", "read_notes", "run_folder"]
