"""The inference server: one process a replica, started from the environment that Seldon's operator gives a container.

`python -m chandlery.inference` runs it. `chandlery.inference.model.ChandleryModel` is the model class, in Seldon's Python
contract, that this server and Seldon's own wrapper both run; importing it pulls in no web framework.
"""
