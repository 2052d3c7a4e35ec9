"""SMA Speedwire: energy meters that tell everybody on the network what they measure."""
