"""The agent as a service of its box: installed, upgraded with a way back, removed. Never runs in it.

Rules.
1. A release is a folder of its own, never changed once whole; `current` names the one that runs.
2. Every change that counts is one rename, so a power cut leaves the old or the new, both working.
3. What an upgrade does between two such changes is written down first, and a service of its own goes on
   with it after a crash (`upgrade.py`).
4. Deciding is pure and tested as tables; only `host.py` and `release.py` touch the system.
"""
