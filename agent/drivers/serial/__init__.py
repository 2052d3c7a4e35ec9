"""Serial telemetry lines that are not Modbus: framed text, JSON lines and fixed binary frames."""
