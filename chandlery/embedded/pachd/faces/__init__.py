"""The two faces of the embedded pachd: a channel in this process, and a server on a socket."""
