"""Room acoustics: formulas, geometry, and the scene that every engine's format is made of. Knows no HTTP and no model."""
