"""VGGT-Audio: photos of a room, with sound or without -> cameras, depth, points and acoustic materials."""

NAME = "acoustic_maps"  # what `auricle train` calls it
