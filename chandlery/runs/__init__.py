"""Runs: started, recorded, resumed on this machine; what each step found, kept where later steps and a person read it."""

from chandlery.runs.facts import RunFacts
from chandlery.runs.journal import Note, note, read_notes, run_folder

__all__ = ["Note", "RunFacts", "note", "read_notes", "run_folder"]
