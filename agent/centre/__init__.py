"""ThingsBoard's REST side: what is set up there (`sync`), and what it really stores (`reconcile`)."""
