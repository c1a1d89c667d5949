"""The backend on one or several Triton servers: `backend` asks, `fleet` chooses a server, `server` talks to it."""
