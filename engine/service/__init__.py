"""The engine over a socket: who may speak, what can be asked, and the life of the serving process."""
