"""Who someone is and what he may do: users, second factors, sessions, keys, tokens."""
