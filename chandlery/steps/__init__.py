"""The bodies of the components, `steps/<family>/<component>.py`.

A stage knows one system; a step is where systems meet.
"""
