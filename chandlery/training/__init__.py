"""TensorFlow: fit, evaluate and compare the models of recipes."""
