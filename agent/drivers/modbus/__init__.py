"""Modbus: registers declared one by one, read in as few requests as the device allows."""
