"""What engines read, from an acoustic scene: one format a file, each a pure function from a scene to bytes or a dict.

No model predicts how much sound passes through a material: transmission is 0 everywhere, and said to be assumed.
"""
