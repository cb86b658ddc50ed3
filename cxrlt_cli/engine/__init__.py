"""The verbs: train, infer, evaluate. They speak to a Reporter, never to a terminal."""
