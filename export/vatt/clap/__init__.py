"""CLAP (Wu et al., 2023): public checkpoints of transformers' ClapModel, served as our own towers are."""
