"""What a technician needs on the first day: find devices, tell registers apart, check the wiring.

All of it is pure but `probing.py` and `search.py`, which ask over a link.
"""
