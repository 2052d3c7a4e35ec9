"""Chosen points over a chosen period as CSV: made by a process of its own (`child`), heard by `process`.

A process and not a thread: it takes neither the interpreter's lock from live readings nor leaves its memory
behind, and to cancel it is to end it.
"""
