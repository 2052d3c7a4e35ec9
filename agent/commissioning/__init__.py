"""What a technician needs on the first day: find devices, tell registers apart, check the wiring. Pure."""
