"""Control of what the agent can command, and the model of a room to test and show it on."""
